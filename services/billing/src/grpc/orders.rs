use tonic::{Request, Response, Status};
use wanwu_access::caller;
use wanwu_proto::billing::v1::{
    CreateTopUpOrderRequest, CreateTopUpOrderResponse, GetOrderRequest, GetOrderResponse,
    ListOrdersRequest, ListOrdersResponse, PaymentProvider, order_service_server::OrderService,
};

use super::{Handlers, id, page};
use crate::{commands::CreateTopUpOrder, domain::money::top_up_fen, error::Error};

#[tonic::async_trait]
impl OrderService for Handlers {
    async fn create_top_up_order(
        &self,
        request: Request<CreateTopUpOrderRequest>,
    ) -> Result<Response<CreateTopUpOrderResponse>, Status> {
        let account_id = caller(&request)?.account_id()?;
        let request = request.into_inner();
        if request.provider() != PaymentProvider::WechatNative {
            return Err(Error::invalid("provider", "is not known").into());
        }
        let amount = request.amount.clone().unwrap_or_default();
        let order = self
            .0
            .create_top_up_order(CreateTopUpOrder {
                account_id,
                request_id: id("request_id", &request.request_id)?,
                body: self.0.body_key.mac(&request),
                amount_fen: top_up_fen(&amount)
                    .map_err(|error| Error::invalid("amount", error.to_string()))?,
            })
            .await?;
        Ok(Response::new(CreateTopUpOrderResponse {
            order: Some(order.into()),
        }))
    }

    async fn get_order(
        &self,
        request: Request<GetOrderRequest>,
    ) -> Result<Response<GetOrderResponse>, Status> {
        let account_id = caller(&request)?.account_id()?;
        let order = self
            .0
            .order(account_id, id("order_id", &request.get_ref().order_id)?)
            .await?;
        Ok(Response::new(GetOrderResponse {
            order: Some(order.into()),
        }))
    }

    async fn list_orders(
        &self,
        request: Request<ListOrdersRequest>,
    ) -> Result<Response<ListOrdersResponse>, Status> {
        let account_id = caller(&request)?.account_id()?;
        let request = request.into_inner();
        let page = page(request.page_size, &request.page_token)?;
        let page = self.0.orders(account_id, &page).await?;
        Ok(Response::new(ListOrdersResponse {
            orders: page.items.into_iter().map(Into::into).collect(),
            next_page_token: page.next_page_token,
        }))
    }
}
