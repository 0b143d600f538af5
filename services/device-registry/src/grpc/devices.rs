use tonic::{Request, Response, Status};
use wanwu_access::caller;
use wanwu_personal::{DeviceIdentifier, DeviceIdentifierKind};
use wanwu_proto::device::v1::{
    self as pb, RegisterDeviceRequest, RegisterDeviceResponse, device_service_server::DeviceService,
};

use super::Handlers;
use crate::{commands::RegisterDevice, error::Error};

fn identifier(
    request: &RegisterDeviceRequest,
) -> Result<(DeviceIdentifierKind, DeviceIdentifier), Error> {
    let kind = match request.kind() {
        pb::DeviceIdentifierKind::Oaid => DeviceIdentifierKind::Oaid,
        pb::DeviceIdentifierKind::AndroidId => DeviceIdentifierKind::AndroidId,
        pb::DeviceIdentifierKind::Unspecified => {
            return Err(Error::invalid("kind", "is not known"));
        }
    };
    let identifier = DeviceIdentifier::parse(kind, &request.identifier)
        .map_err(|error| Error::invalid("identifier", error.to_string()))?;
    Ok((kind, identifier))
}

#[tonic::async_trait]
impl DeviceService for Handlers {
    async fn register_device(
        &self,
        request: Request<RegisterDeviceRequest>,
    ) -> Result<Response<RegisterDeviceResponse>, Status> {
        let app_id = caller(&request)?.app_id()?;
        let (kind, identifier) = identifier(request.get_ref())?;
        let command = RegisterDevice {
            app_id,
            kind,
            identifier,
        };
        let registered = self.0.register_device(command).await?;
        Ok(Response::new(RegisterDeviceResponse {
            device_id: registered.device_id.to_string(),
            device_token: registered.token,
        }))
    }
}
