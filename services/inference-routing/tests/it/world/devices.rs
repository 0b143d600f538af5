//! device-registry's gates.

use std::{collections::HashMap, pin::Pin, sync::Arc, time::Duration};

use futures::Stream;
use inference_routing::peers::PeerChannel;
use parking_lot::Mutex;
use tokio_stream::{StreamExt, wrappers::IntervalStream};
use tonic::{Request, Response, Status};
use wanwu_proto::device::v1::{
    DeviceGate, GetDeviceGateRequest, GetDeviceGateResponse, WatchDeviceGatesRequest,
    WatchDeviceGatesResponse,
    device_gate_service_server::{DeviceGateService, DeviceGateServiceServer},
};

/// device-registry.
#[derive(Clone)]
pub struct FakeDevices {
    pub channel: PeerChannel,
    gates: Arc<Mutex<HashMap<String, DeviceGate>>>,
}

struct Gates(Arc<Mutex<HashMap<String, DeviceGate>>>);

impl FakeDevices {
    pub async fn start() -> Self {
        let gates: Arc<Mutex<HashMap<String, DeviceGate>>> = Arc::default();
        let service = DeviceGateServiceServer::new(Gates(gates.clone()));
        let channel = super::serve(|incoming| {
            super::server()
                .add_service(service)
                .serve_with_incoming(incoming)
        })
        .await;
        Self { channel, gates }
    }

    pub fn put(&self, gate: DeviceGate) {
        self.gates.lock().insert(gate.gate_id.clone(), gate);
    }
}

#[tonic::async_trait]
impl DeviceGateService for Gates {
    async fn get_device_gate(
        &self,
        request: Request<GetDeviceGateRequest>,
    ) -> Result<Response<GetDeviceGateResponse>, Status> {
        let gate = self.0.lock().get(&request.into_inner().gate_id).cloned();
        Ok(Response::new(GetDeviceGateResponse { gate }))
    }

    type WatchDeviceGatesStream =
        Pin<Box<dyn Stream<Item = Result<WatchDeviceGatesResponse, Status>> + Send>>;

    async fn watch_device_gates(
        &self,
        _request: Request<WatchDeviceGatesRequest>,
    ) -> Result<Response<Self::WatchDeviceGatesStream>, Status> {
        let beats = IntervalStream::new(tokio::time::interval(Duration::from_millis(200)));
        let items = beats.map(|_| Ok(WatchDeviceGatesResponse { gate: None }));
        Ok(Response::new(Box::pin(items)))
    }
}
