use chrono::DateTime;
use tonic::{Request, Response, Status};
use wanwu_proto::billing::v1::{
    GetPriceListRequest, GetPriceListResponse, price_service_server::PriceService,
};

use super::Handlers;
use crate::error::Error;

#[tonic::async_trait]
impl PriceService for Handlers {
    async fn get_price_list(
        &self,
        request: Request<GetPriceListRequest>,
    ) -> Result<Response<GetPriceListResponse>, Status> {
        let instant = match request.get_ref().instant {
            None => self.0.now(),
            Some(at) => u32::try_from(at.nanos)
                .ok()
                .and_then(|nanos| DateTime::from_timestamp(at.seconds, nanos))
                .ok_or_else(|| Error::invalid("instant", "is no instant"))?,
        };
        let list = self.0.price_list(instant).await?;
        Ok(Response::new(GetPriceListResponse {
            price_list: Some(list.into()),
        }))
    }
}
