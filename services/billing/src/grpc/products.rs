use std::sync::Arc;

use tonic::{Request, Response, Status};
use wanwu_access::caller;
use wanwu_ids::OrderId;
use wanwu_personal::{Phone, PostalAddress, RecipientName};
use wanwu_proto::billing::v1::{
    self as pb, CreateProductOrderRequest, CreateProductOrderResponse, FulfilmentState,
    GetDeliveryRequest, GetDeliveryResponse, GetProductOrderRequest, GetProductOrderResponse,
    ListProductsRequest, ListProductsResponse, RecordFulfilmentRequest, RecordFulfilmentResponse,
    product_service_server::ProductService,
};

use super::{
    id,
    orders::{buyer, method, payer},
};
use crate::{
    convert::{self, timestamp},
    domain::{
        money::{NANOS_PER_FEN, to_wire},
        product::{Fulfilment, Product},
    },
    error::Error,
    order_desk::{CreateProductOrder, OrderDesk, ProductOrder, Recipient},
};

/// Answers the service of products.
#[derive(Clone)]
pub struct ProductHandlers(pub Arc<OrderDesk>);

#[tonic::async_trait]
impl ProductService for ProductHandlers {
    async fn list_products(
        &self,
        _: Request<ListProductsRequest>,
    ) -> Result<Response<ListProductsResponse>, Status> {
        let catalogue = self.0.app.catalogue().await?;
        let products = catalogue.into_iter().flat_map(|catalogue| {
            let version = catalogue.version;
            let products = catalogue.products.into_iter();
            products.map(move |product| wire(product, version))
        });
        Ok(Response::new(ListProductsResponse {
            products: products.collect(),
        }))
    }

    async fn create_product_order(
        &self,
        request: Request<CreateProductOrderRequest>,
    ) -> Result<Response<CreateProductOrderResponse>, Status> {
        let account_id = caller(&request)?.account_id()?;
        let buyer = buyer(&request)?;
        let mut request = request.into_inner();
        let method = method(request.provider())?;
        // Not part of what is ordered: a phone changes its network between two tries.
        let payer = payer(method, request.payer.take())?;
        let command = CreateProductOrder {
            account_id,
            request_id: id("request_id", &request.request_id)?,
            body: self.0.app.body_key.mac(&request),
            product_id: request.product_id,
            quantity: request.quantity,
            method,
            accepted_addendum: request.accepted_addendum,
            recipient: request.recipient.as_ref().map(recipient).transpose()?,
            payer,
            buyer,
        };
        let made = self.0.create_product_order(command).await?;
        Ok(Response::new(CreateProductOrderResponse {
            product_order: Some(made.into()),
        }))
    }

    async fn get_product_order(
        &self,
        request: Request<GetProductOrderRequest>,
    ) -> Result<Response<GetProductOrderResponse>, Status> {
        let account_id = caller(&request)?.account_id()?;
        let order_id = id("order_id", &request.get_ref().order_id)?;
        let order = self.0.product_order(account_id, order_id).await?;
        Ok(Response::new(GetProductOrderResponse {
            product_order: Some(order.into()),
        }))
    }

    async fn get_delivery(
        &self,
        request: Request<GetDeliveryRequest>,
    ) -> Result<Response<GetDeliveryResponse>, Status> {
        let operator_id = caller(&request)?.operator_id()?;
        let order_id = id("order_id", &request.get_ref().order_id)?;
        let recipient = self.0.recipient(operator_id, order_id).await?;
        Ok(Response::new(GetDeliveryResponse {
            recipient: Some(pb::Recipient {
                name: recipient.name.expose().to_owned(),
                phone: recipient.phone.expose().to_owned(),
                address: recipient.address.expose().to_owned(),
            }),
        }))
    }

    async fn record_fulfilment(
        &self,
        request: Request<RecordFulfilmentRequest>,
    ) -> Result<Response<RecordFulfilmentResponse>, Status> {
        let operator_id = caller(&request)?.operator_id()?;
        let request = request.into_inner();
        let order_id: OrderId = id("order_id", &request.order_id)?;
        let next = Fulfilment::from_wire(request.state());
        let next = next.ok_or_else(|| Error::invalid("state", "is not known"))?;
        let tracking = tracking(next, request.tracking)?;
        let delivery = self
            .0
            .record_fulfilment(operator_id, order_id, next, tracking)
            .await?;
        Ok(Response::new(RecordFulfilmentResponse {
            state: FulfilmentState::from(delivery.state).into(),
            change_time: Some(timestamp(delivery.changed_at)),
        }))
    }
}

/// The texts of errors do not show it.
fn recipient(said: &pb::Recipient) -> Result<Recipient, Error> {
    let name = RecipientName::parse(&said.name);
    let address = PostalAddress::parse(&said.address);
    let phone = Phone::parse(&said.phone);
    Ok(Recipient {
        name: name.map_err(|_| Error::invalid("recipient.name", "must have 2 to 50 characters"))?,
        phone: phone.map_err(|why| Error::invalid("recipient.phone", why.to_string()))?,
        address: address
            .map_err(|_| Error::invalid("recipient.address", "must have 5 to 200 characters"))?,
    })
}

fn tracking(next: Fulfilment, text: String) -> Result<String, Error> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    let shipped = next == Fulfilment::Shipped;
    let sound = text.len() <= 40 && text.bytes().all(allowed);
    if sound && (shipped || text.is_empty()) {
        Ok(text)
    } else {
        let what = "must be at most 40 letters, digits and hyphens of a parcel that is shipped";
        Err(Error::invalid("tracking", what))
    }
}

fn wire(product: Product, catalogue_version: i32) -> pb::Product {
    pb::Product {
        product_id: product.product_id,
        title: product.title,
        unit_amount: Some(to_wire(product.unit_fen * NANOS_PER_FEN)),
        max_quantity: product.max_quantity,
        delivered: product.delivered,
        addendum: product.addendum,
        support: product.support,
        catalogue_version,
    }
}

impl From<ProductOrder> for pb::ProductOrder {
    fn from(order: ProductOrder) -> Self {
        let masked = order.recipient.map(|recipient| pb::Recipient {
            name: recipient.name.masked(),
            phone: format!("*******{}", &recipient.phone.expose()[7..]),
            address: recipient.address.masked(),
        });
        Self {
            order: Some(convert::order((order.order, order.channels))),
            product: Some(wire(order.product, order.item.catalogue_version)),
            quantity: order.item.quantity,
            fulfilment: FulfilmentState::from(order.delivery.state).into(),
            tracking: order.delivery.tracking,
            masked_recipient: masked,
        }
    }
}
