use sqlx::types::Uuid;
use wanwu_ids::{AccountId, OrderId, RequestId};
use wanwu_postgres::requests::{self, BodyMac, Claim, RequestKey};

use crate::{
    app::App,
    domain::order::{self, Event, LIFETIME, State},
    error::Error,
    store::orders::{self, Order},
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
}

impl App {
    /// Makes the order, then asks the provider for the code to scan. When the provider does not
    /// answer the order stands: the same request again asks again.
    pub async fn create_top_up_order(&self, command: CreateTopUpOrder) -> Result<Order, Error> {
        let order = self.make_order(&command).await?;
        if order.state != State::Created {
            return Ok(order);
        }
        let code_url = self.wechat.prepay(&order).await?;
        self.give_code(order.order_id, code_url).await
    }

    async fn make_order(&self, command: &CreateTopUpOrder) -> Result<Order, Error> {
        let now = self.now();
        let order = Order {
            order_id: self.ids.id(),
            account_id: command.account_id,
            amount_fen: command.amount_fen,
            state: State::Created,
            code_url: String::new(),
            created_at: now,
            expires_at: now + LIFETIME,
            paid_at: None,
            query_after: order::next_query(now, 0),
            queries: 0,
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
        tx.commit().await?;
        Ok(order)
    }

    async fn give_code(&self, order_id: OrderId, code_url: String) -> Result<Order, Error> {
        let mut tx = self.pool.begin().await?;
        let mut order = orders::lock(&mut tx, order_id)
            .await?
            .ok_or(Error::NotFound)?;
        order.state = order.state.after(Event::CodeGiven).0;
        order.code_url = code_url;
        orders::save(&mut tx, &order).await?;
        tx.commit().await?;
        Ok(order)
    }
}
