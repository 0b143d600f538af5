//! Identity, as far as device-registry asks it: who owns an app.

use std::{collections::HashMap, sync::Arc};

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, service::Routes};
use wanwu_access::AccessLayer;
use wanwu_grpc::{Channel, GrpcConfig, PeerAddress, Server, testing::TestAuthority};
use wanwu_ids::{AccountId, AppId};
use wanwu_proto::identity::v1::{
    self as pb, GetAppOwnerRequest, GetAppOwnerResponse,
    app_service_server::{AppService, AppServiceServer},
};

#[derive(Clone, Default)]
pub struct Identity(Arc<Mutex<HashMap<String, String>>>);

impl Identity {
    /// Identity and the channel of device-registry to it.
    pub async fn start(stop: &CancellationToken) -> (Self, Channel) {
        let authority = TestAuthority::start().unwrap();
        let identity = Self::default();
        let tls = authority.tls("identity").unwrap();
        let server = Server::bind(&GrpcConfig::default(), &tls).await.unwrap();
        let address = server.local_addr().to_string();
        let routes = Routes::new(AppServiceServer::new(identity.clone()));
        let access = AccessLayer::of_contracts(None);
        tokio::spawn(server.run(routes, access, stop.clone(), stop.clone()));
        let tls = authority.tls("device-registry").unwrap();
        let channel = Channel::new("identity", PeerAddress::List(vec![address]), &tls);
        (identity, channel)
    }

    /// The account owns the app.
    pub fn owns(&self, account_id: AccountId, app_id: AppId) {
        let mut owners = self.0.lock();
        owners.insert(app_id.to_string(), account_id.to_string());
    }
}

#[tonic::async_trait]
impl AppService for Identity {
    async fn get_app_owner(
        &self,
        request: Request<GetAppOwnerRequest>,
    ) -> Result<Response<GetAppOwnerResponse>, Status> {
        let owner = self.0.lock().get(&request.into_inner().app_id).cloned();
        let account_id = owner.ok_or_else(|| Status::not_found("no such app"))?;
        Ok(Response::new(GetAppOwnerResponse { account_id }))
    }

    async fn create_app(
        &self,
        _: Request<pb::CreateAppRequest>,
    ) -> Result<Response<pb::CreateAppResponse>, Status> {
        Err(Status::unimplemented("not asked"))
    }

    async fn get_app(
        &self,
        _: Request<pb::GetAppRequest>,
    ) -> Result<Response<pb::GetAppResponse>, Status> {
        Err(Status::unimplemented("not asked"))
    }

    async fn list_apps(
        &self,
        _: Request<pb::ListAppsRequest>,
    ) -> Result<Response<pb::ListAppsResponse>, Status> {
        Err(Status::unimplemented("not asked"))
    }
}
