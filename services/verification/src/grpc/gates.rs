use futures::{StreamExt, stream::BoxStream};
use tonic::{Request, Response, Status};
use wanwu_proto::verification::v1::{
    GetRealNameGateRequest, GetRealNameGateResponse, WatchRealNameGatesRequest,
    WatchRealNameGatesResponse, real_name_gate_service_server::RealNameGateService,
};

use super::Handlers;
use crate::{error::Error, store::gates};

#[tonic::async_trait]
impl RealNameGateService for Handlers {
    type WatchRealNameGatesStream = BoxStream<'static, Result<WatchRealNameGatesResponse, Status>>;

    async fn get_real_name_gate(
        &self,
        request: Request<GetRealNameGateRequest>,
    ) -> Result<Response<GetRealNameGateResponse>, Status> {
        let account_id = request.get_ref().account_id.parse();
        let account_id = account_id.map_err(|_| Error::invalid("account_id", "is not a UUID"))?;
        let mut connection = self.0.pool.acquire().await.map_err(Error::from)?;
        let gate = gates::get(&mut connection, account_id)
            .await
            .map_err(Error::from)?;
        Ok(Response::new(GetRealNameGateResponse { gate: Some(gate) }))
    }

    async fn watch_real_name_gates(
        &self,
        _: Request<WatchRealNameGatesRequest>,
    ) -> Result<Response<Self::WatchRealNameGatesStream>, Status> {
        let items = self.0.feed.subscribe();
        let items = items.map(|item| item.map(|gate| WatchRealNameGatesResponse { gate }));
        Ok(Response::new(items.boxed()))
    }
}
