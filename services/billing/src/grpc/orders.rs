use tonic::{Request, Response, Status};
use wanwu_access::{Reason, caller, refusal, standing};
use wanwu_proto::{
    billing::v1::{
        self as pb, AddPaymentChannelRequest, AddPaymentChannelResponse, CancelOrderRequest,
        CancelOrderResponse, CreateTopUpOrderRequest, CreateTopUpOrderResponse, GetOrderRequest,
        GetOrderResponse, ListOrdersRequest, ListOrdersResponse, ListPaymentMethodsRequest,
        ListPaymentMethodsResponse, ListPaymentSharesRequest, ListPaymentSharesResponse,
        PaymentProvider, order_service_server::OrderService,
    },
    identity::v1::AgeBand,
};

use super::{Handlers, id, page};
use crate::{
    commands::CreateTopUpOrder,
    convert::order,
    domain::{money::top_up_fen, package::Offer, payment_channel::Method, purchase::Buyer},
    error::Error,
    providers::Payer,
};

/// Which text is shown before somebody pays at a third party, and the text (obligation T3.3.3c).
const NOTICE_ID: &str = "third_party_payment_v1";
const NOTICE: &str = "您将使用第三方支付机构提供的支付服务。付款前请审慎阅读其用户服务协议和隐私政策。我们仅向该机构提供\
    订单号、商品描述、金额及完成支付所必需的技术信息。";

impl Handlers {
    /// The package that an order buys, at its price; `None`: credit.
    fn bought(&self, product: &str, amount_fen: i64) -> Result<Option<String>, Error> {
        if product.is_empty() {
            return Ok(None);
        }
        let products = self.0.products.read();
        let sold = products
            .iter()
            .find(|sold| sold.product == product && sold.offer == Offer::Sold)
            .ok_or_else(|| Error::invalid("package_product", "is not sold"))?;
        if sold.price_fen != amount_fen {
            return Err(Error::invalid("amount", "is not the package's price"));
        }
        Ok(Some(sold.product.clone()))
    }
}

pub(super) fn method(provider: PaymentProvider) -> Result<Method, Error> {
    Method::from_wire(provider).ok_or_else(|| Error::invalid("provider", "is not known"))
}

/// Who orders. A child under 8 orders nothing, whoever allows it (Civil Code 20), and neither does
/// somebody whose age nobody verified.
pub(super) fn buyer<T>(request: &Request<T>) -> Result<Buyer, Status> {
    match standing(request)?.age_band() {
        AgeBand::Adult => Ok(Buyer::Adult),
        AgeBand::AgeBand8To13 | AgeBand::AgeBand14To17 => Ok(Buyer::Minor),
        AgeBand::Under8 => Err(refusal(Reason::AgeRefused)),
        AgeBand::Unspecified => Err(refusal(Reason::RealNameRequired)),
    }
}

/// What the method asks of the payer, and nothing more. The texts of errors do not show it.
pub(super) fn payer(method: Method, payer: Option<pb::Payer>) -> Result<Payer, Error> {
    let said = payer.unwrap_or_default();
    let mut payer = Payer::default();
    match method {
        Method::WechatH5 => {
            let address = said.client_ip.parse();
            let address =
                address.map_err(|_| Error::invalid("payer.client_ip", "is not an address"))?;
            payer.client_ip = Some(address);
        }
        Method::WechatJsapi => {
            let sound = (1..=128).contains(&said.openid.len())
                && said.openid.chars().all(|c| c.is_ascii_graphic());
            if !sound {
                return Err(Error::invalid("payer.openid", "is not an openid"));
            }
            payer.openid = Some(said.openid);
        }
        Method::WechatNative | Method::AlipayPrecreate | Method::AlipayPage => {}
    }
    Ok(payer)
}

#[tonic::async_trait]
impl OrderService for Handlers {
    async fn create_top_up_order(
        &self,
        request: Request<CreateTopUpOrderRequest>,
    ) -> Result<Response<CreateTopUpOrderResponse>, Status> {
        let account_id = caller(&request)?.account_id()?;
        let buyer = buyer(&request)?;
        let mut request = request.into_inner();
        let method = method(request.provider())?;
        // Not part of what is ordered: a phone changes its network between two tries.
        let payer = payer(method, request.payer.take())?;
        let amount = request.amount.clone().unwrap_or_default();
        let amount_fen =
            top_up_fen(&amount).map_err(|error| Error::invalid("amount", error.to_string()))?;
        let made = self
            .0
            .create_top_up_order(CreateTopUpOrder {
                account_id,
                request_id: id("request_id", &request.request_id)?,
                body: self.0.body_key.mac(&request),
                amount_fen,
                method,
                payer,
                buyer,
                package_product: self.bought(&request.package_product, amount_fen)?,
            })
            .await?;
        Ok(Response::new(CreateTopUpOrderResponse {
            order: Some(order(made)),
        }))
    }

    async fn add_payment_channel(
        &self,
        request: Request<AddPaymentChannelRequest>,
    ) -> Result<Response<AddPaymentChannelResponse>, Status> {
        let account_id = caller(&request)?.account_id()?;
        let request = request.into_inner();
        let method = method(request.provider())?;
        let order_id = id("order_id", &request.order_id)?;
        let payer = payer(method, request.payer)?;
        let offered = self
            .0
            .add_payment_channel(account_id, order_id, method, &payer)
            .await?;
        Ok(Response::new(AddPaymentChannelResponse {
            order: Some(order(offered)),
        }))
    }

    async fn cancel_order(
        &self,
        request: Request<CancelOrderRequest>,
    ) -> Result<Response<CancelOrderResponse>, Status> {
        let account_id = caller(&request)?.account_id()?;
        let order_id = id("order_id", &request.get_ref().order_id)?;
        let cancelled = self.0.cancel_order(account_id, order_id).await?;
        Ok(Response::new(CancelOrderResponse {
            order: Some(order(cancelled)),
        }))
    }

    async fn list_payment_shares(
        &self,
        request: Request<ListPaymentSharesRequest>,
    ) -> Result<Response<ListPaymentSharesResponse>, Status> {
        let account_id = caller(&request)?.account_id()?;
        let order_id = id("order_id", &request.get_ref().order_id)?;
        let shares = self.0.payment_shares(account_id, order_id).await?;
        Ok(Response::new(ListPaymentSharesResponse {
            shares: shares.into_iter().map(Into::into).collect(),
        }))
    }

    async fn list_payment_methods(
        &self,
        _: Request<ListPaymentMethodsRequest>,
    ) -> Result<Response<ListPaymentMethodsResponse>, Status> {
        let providers = self.0.providers();
        let configured = providers.configured();
        let methods = Method::ALL
            .into_iter()
            .filter(|method| configured.contains(&method.provider()));
        let methods = methods.map(|method| pb::PaymentMethod {
            provider: PaymentProvider::from(method).into(),
            notice_id: NOTICE_ID.to_owned(),
            notice: NOTICE.to_owned(),
            legal_urls: providers.legal_urls(method.provider()).to_vec(),
        });
        Ok(Response::new(ListPaymentMethodsResponse {
            methods: methods.collect(),
        }))
    }

    async fn get_order(
        &self,
        request: Request<GetOrderRequest>,
    ) -> Result<Response<GetOrderResponse>, Status> {
        let account_id = caller(&request)?.account_id()?;
        let read = self
            .0
            .order(account_id, id("order_id", &request.get_ref().order_id)?)
            .await?;
        Ok(Response::new(GetOrderResponse {
            order: Some(order(read)),
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
            orders: page.items.into_iter().map(order).collect(),
            next_page_token: page.next_page_token,
        }))
    }
}
