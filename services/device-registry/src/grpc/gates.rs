use futures::{StreamExt, stream::BoxStream};
use tonic::{Request, Response, Status};
use uuid::Uuid;
use wanwu_proto::device::v1::{
    GetDeviceGateRequest, GetDeviceGateResponse, WatchDeviceGatesRequest, WatchDeviceGatesResponse,
    device_gate_service_server::DeviceGateService,
};

use super::{Handlers, id};
use crate::{error::Error, store::gates};

#[tonic::async_trait]
impl DeviceGateService for Handlers {
    type WatchDeviceGatesStream = BoxStream<'static, Result<WatchDeviceGatesResponse, Status>>;

    async fn get_device_gate(
        &self,
        request: Request<GetDeviceGateRequest>,
    ) -> Result<Response<GetDeviceGateResponse>, Status> {
        let gate_id: Uuid = id("gate_id", &request.get_ref().gate_id)?;
        let mut connection = self.0.pool.acquire().await.map_err(Error::from)?;
        let gate = gates::get(&mut connection, gate_id)
            .await
            .map_err(Error::from)?;
        Ok(Response::new(GetDeviceGateResponse { gate: Some(gate) }))
    }

    async fn watch_device_gates(
        &self,
        _: Request<WatchDeviceGatesRequest>,
    ) -> Result<Response<Self::WatchDeviceGatesStream>, Status> {
        let items = self.0.feed.subscribe();
        let items = items.map(|item| item.map(|gate| WatchDeviceGatesResponse { gate }));
        Ok(Response::new(items.boxed()))
    }
}
