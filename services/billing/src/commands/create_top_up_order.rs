use sqlx::types::Uuid;
use wanwu_ids::{AccountId, OrderId, RequestId};
use wanwu_postgres::requests::{self, BodyMac, Claim, RequestKey};

use crate::{
    app::App,
    domain::{
        order::{self, LIFETIME},
        payment_channel::{self, Method, next_query},
    },
    error::Error,
    store::{
        orders::{self, Order},
        payment_channels::{self, Channel},
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
        self.open_channel(&order, command.method).await?;
        let made = self.order(command.account_id, order.order_id).await;
        wanwu_crash::point("order.before_answer");
        made
    }

    async fn make_order(&self, command: &CreateTopUpOrder) -> Result<Order, Error> {
        let now = self.now();
        let order = Order {
            order_id: self.ids.id(),
            account_id: command.account_id,
            amount_fen: command.amount_fen,
            method: command.method,
            state: order::State::Created,
            created_at: now,
            expires_at: now + LIFETIME,
            paid_at: None,
        };
        let mut tx = self.pool.begin().await?;
        let caller = format!("account:{}", command.account_id);
        let key = RequestKey {
            method: "wanwu.billing.v1.OrderService/CreateTopUpOrder",
            caller: &caller,
            request_id: command.request_id.uuid(),
        };
        let object_id: Uuid = order.order_id.uuid();
        if let Claim::Repeated(made) =
            requests::claim(&mut tx, key, command.body, object_id, now, None).await?
        {
            return orders::find(&mut tx, OrderId::from_uuid(made))
                .await?
                .ok_or(Error::NotFound);
        }
        orders::insert(&mut tx, &order).await?;
        let channel = Channel {
            order_id: order.order_id,
            method: command.method,
            state: payment_channel::State::Created,
            code_url: String::new(),
            query_after: next_query(now, 0, now - order.expires_at),
            queries: 0,
            created_at: now,
        };
        payment_channels::insert(&mut tx, &channel).await?;
        wanwu_crash::point("order.before_commit");
        tx.commit().await?;
        wanwu_crash::point("order.committed");
        Ok(order)
    }
}
