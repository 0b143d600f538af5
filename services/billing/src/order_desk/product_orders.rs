use sqlx::PgConnection;
use uuid::Uuid;
use wanwu_ids::{AccountId, OperatorId, OrderId, RequestId};
use wanwu_personal::{Phone, PostalAddress, RecipientName};
use wanwu_postgres::requests::{self, BodyMac, Claim, RequestKey};

use super::{OrderDesk, aad};
use crate::{
    domain::{
        ledger::Movement,
        money::NANOS_PER_FEN,
        order::State,
        payment_channel::Method,
        product::{Fulfilment, Product},
        purchase::Buyer,
    },
    error::Error,
    providers::Payer,
    store::{
        ledger::{self, Posting},
        orders::{self, Order},
        payment_channels::Channel,
        products::{self, Delivery, Item},
        refunds,
    },
};

const TABLE: &str = "fulfilments";
const COLUMNS: [&str; 3] = ["recipient", "phone", "address"];

/// Who receives a delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipient {
    /// The name.
    pub name: RecipientName,
    /// The phone.
    pub phone: Phone,
    /// The address.
    pub address: PostalAddress,
}

/// A person orders a product.
pub struct CreateProductOrder {
    /// Who.
    pub account_id: AccountId,
    /// Names the request, for ever.
    pub request_id: RequestId,
    /// Proves that a repeated request is the same.
    pub body: BodyMac,
    /// The product.
    pub product_id: String,
    /// How many.
    pub quantity: i32,
    /// Where the order is offered first.
    pub method: Method,
    /// The terms that are accepted with it.
    pub accepted_addendum: String,
    /// Who receives it.
    pub recipient: Option<Recipient>,
    /// What the provider asks of the payer.
    pub payer: Payer,
    /// Who orders.
    pub buyer: Buyer,
}

/// An order of a product.
pub struct ProductOrder {
    /// The order.
    pub order: Order,
    /// Its channels.
    pub channels: Vec<Channel>,
    /// What it is for.
    pub item: Item,
    /// The product as it was ordered.
    pub product: Product,
    /// How far it is.
    pub delivery: Delivery,
    /// Who receives it.
    pub recipient: Option<Recipient>,
}

impl OrderDesk {
    /// Makes the order, then asks the provider for what the payer scans or opens (obligations
    /// P2.1.1d.1, T3.3.1a). When it does not answer the order stands: the same request again
    /// asks again.
    pub async fn create_product_order(
        &self,
        command: CreateProductOrder,
    ) -> Result<ProductOrder, Error> {
        let app = &self.app;
        app.providers().get(command.method.provider())?;
        let order = self.make_product_order(&command).await?;
        app.open_channel(&order, command.method, &command.payer)
            .await?;
        self.product_order(command.account_id, order.order_id).await
    }

    async fn make_product_order(&self, command: &CreateProductOrder) -> Result<Order, Error> {
        let now = self.app.now();
        let mut tx = self.app.pool.begin().await?;
        let order_id: OrderId = self.app.ids.id();
        let caller = format!("account:{}", command.account_id);
        let key = RequestKey {
            method: "wanwu.billing.v1.ProductService/CreateProductOrder",
            caller: &caller,
            request_id: command.request_id.uuid(),
        };
        let object_id: Uuid = order_id.uuid();
        if let Claim::Repeated(made) =
            requests::claim(&mut tx, key, command.body, object_id, now, None).await?
        {
            let made = orders::find(&mut tx, OrderId::from_uuid(made)).await?;
            return made.ok_or(Error::NotFound);
        }
        let catalogue = products::catalogue_at(&mut tx, now).await?;
        let catalogue = catalogue.ok_or(Error::NotFound)?;
        let product = catalogue.product(&command.product_id);
        let product = product.ok_or(Error::NotFound)?;
        if command.accepted_addendum != product.addendum {
            return Err(Error::AddendumNotAccepted);
        }
        let amount_fen = product.amount_fen(command.quantity);
        let amount_fen =
            amount_fen.ok_or_else(|| Error::invalid("quantity", "is not sold at once"))?;
        if product.delivered != command.recipient.is_some() {
            let what = "is needed where it is delivered, and only there";
            return Err(Error::invalid("recipient", what));
        }
        let order = self
            .app
            .insert_order(
                &mut tx,
                order_id,
                command.account_id,
                (amount_fen, None),
                command.method,
                command.buyer,
            )
            .await?;
        let item = Item {
            order_id,
            catalogue_version: catalogue.version,
            product_id: product.product_id.clone(),
            quantity: command.quantity,
            unit_fen: product.unit_fen,
            addendum: product.addendum.clone(),
        };
        products::insert_item(&mut tx, &item).await?;
        let recipient = match &command.recipient {
            Some(recipient) => Some(
                self.seal_recipient(&mut tx, command.account_id, order_id, recipient)
                    .await?,
            ),
            None => None,
        };
        let delivery = Delivery {
            order_id,
            state: Fulfilment::Pending,
            tracking: String::new(),
            recipient,
            changed_at: now,
            changed_by: None,
        };
        products::insert_delivery(&mut tx, &delivery).await?;
        tx.commit().await?;
        Ok(order)
    }

    /// An order of the account.
    pub async fn product_order(
        &self,
        account_id: AccountId,
        id: OrderId,
    ) -> Result<ProductOrder, Error> {
        let (order, channels) = self.app.order(account_id, id).await?;
        let mut connection = self.app.pool.acquire().await?;
        let (item, product, delivery) = whole(&mut connection, id).await?;
        let recipient = self
            .open_recipient(&mut connection, account_id, &delivery)
            .await?;
        Ok(ProductOrder {
            order,
            channels,
            item,
            product,
            delivery,
            recipient,
        })
    }

    /// Whom a paid order is to be sent to; who looks is written down first.
    pub async fn recipient(
        &self,
        operator_id: OperatorId,
        id: OrderId,
    ) -> Result<Recipient, Error> {
        let mut tx = self.app.pool.begin().await?;
        let order = orders::find(&mut tx, id).await?.ok_or(Error::NotFound)?;
        let (_, _, delivery) = whole(&mut tx, id).await?;
        if order.state != State::Paid || delivery.state == Fulfilment::Completed {
            return Err(Error::FulfilmentState);
        }
        self.app
            .note_access(&mut tx, operator_id, "delivery", id.to_string())
            .await?;
        let recipient = self
            .open_recipient(&mut tx, order.account_id, &delivery)
            .await?;
        tx.commit().await?;
        recipient.ok_or(Error::NotFound)
    }

    /// Writes how far a paid order is; what was provided is earned.
    pub async fn record_fulfilment(
        &self,
        operator_id: OperatorId,
        id: OrderId,
        next: Fulfilment,
        tracking: String,
    ) -> Result<Delivery, Error> {
        let now = self.app.now();
        let mut tx = self.app.pool.begin().await?;
        let order = orders::lock(&mut tx, id).await?.ok_or(Error::NotFound)?;
        let (_, product, mut delivery) = whole(&mut tx, id).await?;
        let may = delivery.state.leads_to(next, product.delivered);
        if order.state != State::Paid || !may {
            return Err(Error::FulfilmentState);
        }
        delivery.state = next;
        if next == Fulfilment::Shipped {
            delivery.tracking = tracking;
        }
        delivery.changed_at = now;
        delivery.changed_by = Some(operator_id);
        products::save_delivery(&mut tx, &delivery).await?;
        if next == Fulfilment::Completed {
            let back = refunds::decided_of_order(&mut tx, id).await?;
            let nanos = (order.amount_fen - back) * NANOS_PER_FEN;
            let posting = Posting {
                movement: Movement::fulfilment(order.account_id, nanos),
                cause_id: id.uuid(),
            };
            ledger::book(&mut tx, &self.app.ids, &[posting], now).await?;
        }
        tx.commit().await?;
        Ok(delivery)
    }

    async fn seal_recipient(
        &self,
        tx: &mut PgConnection,
        account_id: AccountId,
        id: OrderId,
        recipient: &Recipient,
    ) -> Result<[Vec<u8>; 3], Error> {
        let row = id.to_string();
        let texts = [
            recipient.name.expose(),
            recipient.phone.expose(),
            recipient.address.expose(),
        ];
        let mut sealed = [const { Vec::new() }; 3];
        for (place, text) in texts.into_iter().enumerate() {
            let aad = aad(TABLE, COLUMNS[place], &row);
            sealed[place] = self.seal(tx, account_id, aad, text).await?;
        }
        Ok(sealed)
    }

    async fn open_recipient(
        &self,
        tx: &mut PgConnection,
        account_id: AccountId,
        delivery: &Delivery,
    ) -> Result<Option<Recipient>, Error> {
        let Some(sealed) = &delivery.recipient else {
            return Ok(None);
        };
        let row = delivery.order_id.to_string();
        let mut texts = [const { String::new() }; 3];
        for (place, sealed) in sealed.iter().enumerate() {
            let aad = aad(TABLE, COLUMNS[place], &row);
            texts[place] = self.open(tx, account_id, aad, sealed).await?;
        }
        let [name, phone, address] = texts;
        let broken = |error: wanwu_personal::InvalidDelivery| Error::Personal(error.into());
        Ok(Some(Recipient {
            name: RecipientName::parse(&name).map_err(broken)?,
            phone: Phone::parse(&phone).map_err(|error| Error::Personal(error.into()))?,
            address: PostalAddress::parse(&address).map_err(broken)?,
        }))
    }
}

/// What an order is for, the product as it was then, and how far it is.
async fn whole(tx: &mut PgConnection, id: OrderId) -> Result<(Item, Product, Delivery), Error> {
    let item = products::find_item(tx, id).await?.ok_or(Error::NotFound)?;
    let catalogue = products::find_catalogue(tx, item.catalogue_version).await?;
    let catalogue = catalogue.ok_or(Error::NotFound)?;
    let product = catalogue.product(&item.product_id).cloned();
    let delivery = products::find_delivery(tx, id).await?;
    let product = product.ok_or(Error::NotFound)?;
    Ok((item, product, delivery.ok_or(Error::NotFound)?))
}
