use chrono::{DateTime, Utc};
use tonic::{Request, Response, Status};
use wanwu_access::caller;
use wanwu_proto::device::v1::{
    GrantLicenceRequest, GrantLicenceResponse, RevokeLicenceRequest, RevokeLicenceResponse,
    SetDemandRequest, SetDemandResponse, licence_service_server::LicenceService,
};

use super::{Handlers, capability, id};
use crate::{
    commands::{GrantLicence, RevokeLicence, SetDemand},
    error::Error,
};

fn instant(timestamp: prost_types::Timestamp) -> Result<DateTime<Utc>, Error> {
    u32::try_from(timestamp.nanos)
        .ok()
        .and_then(|nanos| DateTime::from_timestamp(timestamp.seconds, nanos))
        .ok_or_else(|| Error::invalid("expire_time", "is no instant"))
}

#[tonic::async_trait]
impl LicenceService for Handlers {
    async fn set_demand(
        &self,
        request: Request<SetDemandRequest>,
    ) -> Result<Response<SetDemandResponse>, Status> {
        let account_id = caller(&request)?.account_id()?;
        let request = request.into_inner();
        self.0
            .set_demand(SetDemand {
                account_id,
                app_id: id("app_id", &request.app_id)?,
                capability: capability(&request.capability)?,
                demanded: request.demanded,
            })
            .await?;
        Ok(Response::new(SetDemandResponse {}))
    }

    async fn grant_licence(
        &self,
        request: Request<GrantLicenceRequest>,
    ) -> Result<Response<GrantLicenceResponse>, Status> {
        let account_id = caller(&request)?.account_id()?;
        let request = request.into_inner();
        self.0
            .grant_licence(GrantLicence {
                account_id,
                device_id: id("device_id", &request.device_id)?,
                capability: capability(&request.capability)?,
                expires_at: request.expire_time.map(instant).transpose()?,
            })
            .await?;
        Ok(Response::new(GrantLicenceResponse {}))
    }

    async fn revoke_licence(
        &self,
        request: Request<RevokeLicenceRequest>,
    ) -> Result<Response<RevokeLicenceResponse>, Status> {
        let account_id = caller(&request)?.account_id()?;
        let request = request.into_inner();
        self.0
            .revoke_licence(RevokeLicence {
                account_id,
                device_id: id("device_id", &request.device_id)?,
                capability: capability(&request.capability)?,
            })
            .await?;
        Ok(Response::new(RevokeLicenceResponse {}))
    }
}
