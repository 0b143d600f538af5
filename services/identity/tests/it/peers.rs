//! Privacy and verification, as far as identity asks them.

use std::{collections::HashMap, net::SocketAddr, sync::Arc};

use futures::{StreamExt, stream::BoxStream};
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Request, Response, Status, service::Routes};
use tonic_types::{ErrorDetails, StatusExt};
use wanwu_access::AccessLayer;
use wanwu_grpc::{Channel, GrpcConfig, PeerAddress, Server, testing::TestAuthority};
use wanwu_proto::{
    privacy::v1::{
        self as privacy, GetPrivacyGateRequest, GetPrivacyGateResponse, PrivacyGate,
        RecordAcceptanceRequest, RecordAcceptanceResponse, WatchPrivacyGatesRequest,
        WatchPrivacyGatesResponse,
        agreement_service_server::{AgreementService, AgreementServiceServer},
        privacy_gate_service_server::{PrivacyGateService, PrivacyGateServiceServer},
    },
    verification::v1::{
        GetRealNameGateRequest, GetRealNameGateResponse, RealNameGate, WatchRealNameGatesRequest,
        WatchRealNameGatesResponse,
        real_name_gate_service_server::{RealNameGateService, RealNameGateServiceServer},
    },
};
use wanwu_watch::Feed;

/// The version that registration must name.
pub const CURRENT: &str = "0190b1d2-0000-7000-8000-000000000001";
/// Privacy has no words for this one.
pub const BROKEN: &str = "broken";

#[derive(Clone)]
pub struct Peers {
    privacy: Feed<PrivacyGate>,
    real_name: Feed<RealNameGate>,
    privacy_gates: Arc<Mutex<HashMap<String, PrivacyGate>>>,
    real_name_gates: Arc<Mutex<HashMap<String, RealNameGate>>>,
}

impl Peers {
    /// Both, and the channels of identity to them.
    pub async fn start(stop: &CancellationToken) -> (Self, Channel, Channel) {
        let authority = TestAuthority::start().unwrap();
        let peers = Self {
            privacy: Feed::composed(|| true, stop.clone()),
            real_name: Feed::composed(|| true, stop.clone()),
            privacy_gates: Arc::default(),
            real_name_gates: Arc::default(),
        };
        let routes = Routes::new(AgreementServiceServer::new(peers.clone()))
            .add_service(PrivacyGateServiceServer::new(peers.clone()));
        let privacy = serve(&authority, "privacy", routes, stop).await;
        let routes = Routes::new(RealNameGateServiceServer::new(peers.clone()));
        let verification = serve(&authority, "verification", routes, stop).await;
        let tls = authority.tls("identity").unwrap();
        let channel = |service, address: SocketAddr| {
            Channel::new(service, PeerAddress::List(vec![address.to_string()]), &tls)
        };
        let channels = (
            channel("privacy", privacy),
            channel("verification", verification),
        );
        (peers, channels.0, channels.1)
    }

    /// Privacy's word about an account, told now.
    pub fn tell_privacy(&self, gate: PrivacyGate) {
        let mut gates = self.privacy_gates.lock();
        gates.insert(gate.account_id.clone(), gate.clone());
        self.privacy.publish(gate);
    }

    /// Verification's word about an account, told now.
    pub fn tell_real_name(&self, gate: RealNameGate) {
        let mut gates = self.real_name_gates.lock();
        gates.insert(gate.account_id.clone(), gate.clone());
        self.real_name.publish(gate);
    }
}

async fn serve(
    authority: &TestAuthority,
    service: &str,
    routes: Routes,
    stop: &CancellationToken,
) -> SocketAddr {
    let tls = authority.tls(service).unwrap();
    let server = Server::bind(&GrpcConfig::default(), &tls).await.unwrap();
    let address = server.local_addr();
    let access = AccessLayer::of_contracts(None);
    tokio::spawn(server.run(routes, access, stop.clone(), stop.clone()));
    address
}

#[tonic::async_trait]
impl AgreementService for Peers {
    async fn record_acceptance(
        &self,
        request: Request<RecordAcceptanceRequest>,
    ) -> Result<Response<RecordAcceptanceResponse>, Status> {
        match &request.into_inner().version_ids[..] {
            [id] if id == CURRENT => Ok(Response::new(RecordAcceptanceResponse {})),
            [id] if id == BROKEN => Err(Status::internal("table acceptances is gone")),
            _ => {
                let current = HashMap::from([("current".to_owned(), CURRENT.to_owned())]);
                let details = ErrorDetails::with_error_info(
                    "AGREEMENTS_NOT_ACCEPTED",
                    "privacy.wanwu",
                    current,
                );
                let text = "not the current versions";
                Err(Status::with_error_details(
                    Code::FailedPrecondition,
                    text,
                    details,
                ))
            }
        }
    }

    async fn list_current_agreements(
        &self,
        _: Request<privacy::ListCurrentAgreementsRequest>,
    ) -> Result<Response<privacy::ListCurrentAgreementsResponse>, Status> {
        Err(Status::unimplemented("not asked"))
    }

    async fn get_agreement_text(
        &self,
        _: Request<privacy::GetAgreementTextRequest>,
    ) -> Result<Response<privacy::GetAgreementTextResponse>, Status> {
        Err(Status::unimplemented("not asked"))
    }

    async fn get_agreement_in_force(
        &self,
        _: Request<privacy::GetAgreementInForceRequest>,
    ) -> Result<Response<privacy::GetAgreementInForceResponse>, Status> {
        Err(Status::unimplemented("not asked"))
    }

    async fn accept_agreements(
        &self,
        _: Request<privacy::AcceptAgreementsRequest>,
    ) -> Result<Response<privacy::AcceptAgreementsResponse>, Status> {
        Err(Status::unimplemented("not asked"))
    }

    async fn publish_agreement(
        &self,
        _: Request<privacy::PublishAgreementRequest>,
    ) -> Result<Response<privacy::PublishAgreementResponse>, Status> {
        Err(Status::unimplemented("not asked"))
    }
}

#[tonic::async_trait]
impl PrivacyGateService for Peers {
    type WatchPrivacyGatesStream = BoxStream<'static, Result<WatchPrivacyGatesResponse, Status>>;

    async fn get_privacy_gate(
        &self,
        request: Request<GetPrivacyGateRequest>,
    ) -> Result<Response<GetPrivacyGateResponse>, Status> {
        let account_id = request.into_inner().account_id;
        let known = self.privacy_gates.lock().get(&account_id).cloned();
        let gate = known.unwrap_or(PrivacyGate {
            account_id,
            ..PrivacyGate::default()
        });
        Ok(Response::new(GetPrivacyGateResponse { gate: Some(gate) }))
    }

    async fn watch_privacy_gates(
        &self,
        _: Request<WatchPrivacyGatesRequest>,
    ) -> Result<Response<Self::WatchPrivacyGatesStream>, Status> {
        let items = self.privacy.subscribe();
        let items = items.map(|item| item.map(|gate| WatchPrivacyGatesResponse { gate }));
        Ok(Response::new(items.boxed()))
    }
}

#[tonic::async_trait]
impl RealNameGateService for Peers {
    type WatchRealNameGatesStream = BoxStream<'static, Result<WatchRealNameGatesResponse, Status>>;

    async fn get_real_name_gate(
        &self,
        request: Request<GetRealNameGateRequest>,
    ) -> Result<Response<GetRealNameGateResponse>, Status> {
        let account_id = request.into_inner().account_id;
        let known = self.real_name_gates.lock().get(&account_id).cloned();
        let gate = known.unwrap_or(RealNameGate {
            account_id,
            ..RealNameGate::default()
        });
        Ok(Response::new(GetRealNameGateResponse { gate: Some(gate) }))
    }

    async fn watch_real_name_gates(
        &self,
        _: Request<WatchRealNameGatesRequest>,
    ) -> Result<Response<Self::WatchRealNameGatesStream>, Status> {
        let items = self.real_name.subscribe();
        let items = items.map(|item| item.map(|gate| WatchRealNameGatesResponse { gate }));
        Ok(Response::new(items.boxed()))
    }
}
