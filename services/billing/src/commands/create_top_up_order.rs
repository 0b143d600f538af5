use sqlx::{PgConnection, types::Uuid};
use wanwu_ids::{AccountId, OrderId, RequestId};
use wanwu_postgres::requests::{self, BodyMac, Claim, RequestKey};

use crate::{
    app::App,
    domain::{
        order::{self, LIFETIME},
        payment_channel::{self, Method, next_query},
        purchase::Buyer,
    },
    error::Error,
    providers::Payer,
    store::{
        agreements,
        orders::{self, Order},
        payment_channels::{self, Channel},
        prices,
    },
};

/// A person wants to top up.
pub struct CreateTopUpOrder {
    /// Who.
    pub account_id: AccountId,
    /// Names the request, for ever.
    pub request_id: RequestId,
    /// Proves that a repeated request is the same.
    pub body: BodyMac,
    /// How much, in fen.
    pub amount_fen: i64,
    /// Where the order is offered first.
    pub method: Method,
    /// The package that is bought; `None`: credit.
    pub package_product: Option<String>,
    /// What the provider asks of the payer.
    pub payer: Payer,
    /// Who orders.
    pub buyer: Buyer,
}

impl App {
    /// Makes the order, then asks the provider for what the payer scans or opens. When the
    /// provider does not answer the order stands: the same request again asks again.
    pub async fn create_top_up_order(
        &self,
        command: CreateTopUpOrder,
    ) -> Result<(Order, Vec<Channel>), Error> {
        // Before anything is written: a provider that is not there never will answer.
        self.providers.get(command.method.provider())?;
        let order = self.make_order(&command).await?;
        self.open_channel(&order, command.method, &command.payer)
            .await?;
        let made = self.order(command.account_id, order.order_id).await;
        wanwu_crash::point("order.before_answer");
        made
    }

    async fn make_order(&self, command: &CreateTopUpOrder) -> Result<Order, Error> {
        let now = self.now();
        let order_id: OrderId = self.ids.id();
        let mut tx = self.pool.begin().await?;
        let caller = format!("account:{}", command.account_id);
        let key = RequestKey {
            method: "wanwu.billing.v1.OrderService/CreateTopUpOrder",
            caller: &caller,
            request_id: command.request_id.uuid(),
        };
        let object_id: Uuid = order_id.uuid();
        if let Claim::Repeated(made) =
            requests::claim(&mut tx, key, command.body, object_id, now, None).await?
        {
            return orders::find(&mut tx, OrderId::from_uuid(made))
                .await?
                .ok_or(Error::NotFound);
        }
        let (fen, method) = (command.amount_fen, command.method);
        let package = command.package_product.clone();
        let order = self
            .insert_order(
                &mut tx,
                order_id,
                command.account_id,
                (fen, package),
                method,
                command.buyer,
            )
            .await?;
        wanwu_crash::point("order.before_commit");
        tx.commit().await?;
        wanwu_crash::point("order.committed");
        Ok(order)
    }

    /// Writes a new order and its first channel, with the versions of everything that it goes by
    /// (obligation T0.8).
    pub(crate) async fn insert_order(
        &self,
        tx: &mut PgConnection,
        order_id: OrderId,
        account_id: AccountId,
        (amount_fen, package_product): (i64, Option<String>),
        method: Method,
        buyer: Buyer,
    ) -> Result<Order, Error> {
        let now = self.now();
        let allowance_version = self.may_buy(tx, account_id, buyer, amount_fen).await?;
        let order = Order {
            order_id,
            account_id,
            amount_fen,
            method,
            state: order::State::Created,
            created_at: now,
            expires_at: now + LIFETIME,
            paid_at: None,
            package_product,
            price_version: prices::in_force(tx, now).await?,
            agreements: agreements::in_force(tx, now).await?,
            addendum: None,
            allowance_version,
            payment: None,
        };
        orders::insert(tx, &order).await?;
        let channel = Channel {
            order_id,
            method,
            state: payment_channel::State::Created,
            code_url: String::new(),
            query_after: next_query(now, 0, now - order.expires_at),
            queries: 0,
            created_at: now,
        };
        payment_channels::insert(tx, &channel).await?;
        Ok(order)
    }
}
