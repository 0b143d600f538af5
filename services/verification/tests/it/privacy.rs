//! Privacy, as far as verification asks it: a consent is good for one act.

use std::{collections::HashMap, sync::Arc};

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, service::Routes};
use wanwu_access::AccessLayer;
use wanwu_grpc::{Channel, GrpcConfig, PeerAddress, Server, testing::TestAuthority};
use wanwu_proto::privacy::v1::{
    self as pb, UseConsentRequest, UseConsentResponse,
    consent_service_server::{ConsentService, ConsentServiceServer},
};

/// Consents by id: whose, and the act that used it.
type Consents = HashMap<String, (String, Option<String>)>;

#[derive(Clone, Default)]
pub struct Privacy(Arc<Mutex<Consents>>);

impl Privacy {
    /// Privacy and the channel of verification to it.
    pub async fn start(stop: &CancellationToken) -> (Self, Channel) {
        let authority = TestAuthority::start().unwrap();
        let privacy = Self::default();
        let tls = authority.tls("privacy").unwrap();
        let server = Server::bind(&GrpcConfig::default(), &tls).await.unwrap();
        let address = server.local_addr().to_string();
        let routes = Routes::new(ConsentServiceServer::new(privacy.clone()));
        let access = AccessLayer::of_contracts(None);
        tokio::spawn(server.run(routes, access, stop.clone(), stop.clone()));
        let tls = authority.tls("verification").unwrap();
        let channel = Channel::new("privacy", PeerAddress::List(vec![address]), &tls);
        (privacy, channel)
    }

    /// The account consents to one agency query.
    pub fn consent(&self, consent_id: &str, account_id: &str) {
        let consent = (account_id.to_owned(), None);
        self.0.lock().insert(consent_id.to_owned(), consent);
    }

    /// The consents that were used.
    pub fn used(&self) -> usize {
        let consents = self.0.lock();
        consents.values().filter(|(_, act)| act.is_some()).count()
    }
}

#[tonic::async_trait]
impl ConsentService for Privacy {
    async fn use_consent(
        &self,
        request: Request<UseConsentRequest>,
    ) -> Result<Response<UseConsentResponse>, Status> {
        let request = request.into_inner();
        assert_eq!(request.purpose, "real_name_agency_query");
        let mut consents = self.0.lock();
        let Some((_, act)) = consents
            .get_mut(&request.consent_id)
            .filter(|(owner, _)| *owner == request.account_id)
        else {
            return Err(Status::not_found("no such consent"));
        };
        if act.as_ref().is_some_and(|act| *act != request.use_id) {
            return Err(Status::failed_precondition("used"));
        }
        *act = Some(request.use_id);
        Ok(Response::new(UseConsentResponse {}))
    }

    async fn list_purposes(
        &self,
        _: Request<pb::ListPurposesRequest>,
    ) -> Result<Response<pb::ListPurposesResponse>, Status> {
        Err(Status::unimplemented("not asked"))
    }

    async fn give_consent(
        &self,
        _: Request<pb::GiveConsentRequest>,
    ) -> Result<Response<pb::GiveConsentResponse>, Status> {
        Err(Status::unimplemented("not asked"))
    }

    async fn withdraw_consent(
        &self,
        _: Request<pb::WithdrawConsentRequest>,
    ) -> Result<Response<pb::WithdrawConsentResponse>, Status> {
        Err(Status::unimplemented("not asked"))
    }

    async fn list_consents(
        &self,
        _: Request<pb::ListConsentsRequest>,
    ) -> Result<Response<pb::ListConsentsResponse>, Status> {
        Err(Status::unimplemented("not asked"))
    }
}
