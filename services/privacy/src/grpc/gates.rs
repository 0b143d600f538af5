use futures::{StreamExt, stream::BoxStream};
use tonic::{Request, Response, Status};
use wanwu_proto::privacy::v1::{
    GetPrivacyGateRequest, GetPrivacyGateResponse, WatchPrivacyGatesRequest,
    WatchPrivacyGatesResponse, privacy_gate_service_server::PrivacyGateService,
};

use super::{Handlers, id};

#[tonic::async_trait]
impl PrivacyGateService for Handlers {
    type WatchPrivacyGatesStream = BoxStream<'static, Result<WatchPrivacyGatesResponse, Status>>;

    async fn get_privacy_gate(
        &self,
        request: Request<GetPrivacyGateRequest>,
    ) -> Result<Response<GetPrivacyGateResponse>, Status> {
        let account_id = id("account_id", &request.get_ref().account_id)?;
        let gate = self.0.gate(account_id).await?;
        Ok(Response::new(GetPrivacyGateResponse {
            gate: Some(gate.into()),
        }))
    }

    async fn watch_privacy_gates(
        &self,
        _: Request<WatchPrivacyGatesRequest>,
    ) -> Result<Response<Self::WatchPrivacyGatesStream>, Status> {
        let items = self.0.feed.subscribe();
        let items = items.map(|item| item.map(|gate| WatchPrivacyGatesResponse { gate }));
        Ok(Response::new(items.boxed()))
    }
}
