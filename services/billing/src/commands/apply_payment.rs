use std::collections::HashMap;

use chrono::{DateTime, Utc};
use prost_types::Timestamp;
use sqlx::PgConnection;
use uuid::Uuid;
use wanwu_ids::OrderId;
use wanwu_postgres::violates;
use wanwu_proto::{billing::v1::OrderPaid, identity::v1::NotificationRequested};

use crate::{
    app::App,
    domain::{ledger::Movement, money::NANOS_PER_FEN, order::Event},
    error::Error,
    providers::wechat_pay::{Transaction, out_trade_no},
    store::{
        ledger::{self, Posting},
        orders::{self, Order},
    },
};

/// What came of a proved payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applied {
    /// Credited now.
    Now,
    /// Credited before.
    Before,
}

/// The payment is the provider's, but not for this order: nothing is credited.
#[derive(Debug, thiserror::Error)]
pub enum PaymentRefused {
    /// Another merchant's.
    #[error("the payment is another merchant's")]
    Merchant,
    /// Another app's.
    #[error("the payment is another app's")]
    App,
    /// Not a success.
    #[error("the payment did not succeed")]
    State,
    /// No order of ours has that number.
    #[error("no order has that number")]
    Order,
    /// Another amount, or another currency.
    #[error("the payment's amount is not the order's")]
    Amount,
    /// The provider's transaction is missing, or paid another order.
    #[error("the payment belongs to another order")]
    Transaction,
    /// It could not be looked at.
    #[error("the payment could not be booked")]
    Failed(#[source] Error),
}

impl PaymentRefused {
    /// For metrics.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Merchant => "merchant",
            Self::App => "app",
            Self::State => "state",
            Self::Order => "order",
            Self::Amount => "amount",
            Self::Transaction => "transaction",
            Self::Failed(_) => "failed",
        }
    }
}

impl From<Error> for PaymentRefused {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl From<sqlx::Error> for PaymentRefused {
    fn from(error: sqlx::Error) -> Self {
        Self::Failed(error.into())
    }
}

impl App {
    /// Credits what the provider proved, once: the one way for callbacks and queries
    /// (obligation T3.3.4b). Merchant, app, order, amount and currency must all agree.
    pub async fn apply_payment(
        &self,
        transaction: &Transaction,
    ) -> Result<Applied, PaymentRefused> {
        let order_id = self.check_payment(transaction)?;
        let mut tx = self.pool.begin().await?;
        let mut order = orders::lock(&mut tx, order_id)
            .await?
            .ok_or(PaymentRefused::Order)?;
        let amount = transaction.amount.as_ref();
        if amount.is_none_or(|a| a.total != order.amount_fen || a.currency != "CNY") {
            return Err(PaymentRefused::Amount);
        }
        let (state, credit) = order.state.after(Event::PaymentProved);
        if !credit {
            return repeated(&mut tx, &order, transaction).await;
        }
        let now = self.now();
        order.state = state;
        order.paid_at = Some(now);
        orders::save(&mut tx, &order).await?;
        let paid_at = transaction.success_time.unwrap_or(now);
        orders::insert_payment(&mut tx, &order, &transaction.transaction_id, paid_at)
            .await
            .map_err(|error| {
                if violates(&error, "payments_pkey") {
                    PaymentRefused::Transaction
                } else {
                    error.into()
                }
            })?;
        self.credit(&mut tx, &order, now).await?;
        tx.commit().await?;
        metrics::counter!("wanwu_orders_ended_total", "state" => state.as_str()).increment(1);
        self.freed.notify_waiters();
        Ok(Applied::Now)
    }

    fn check_payment(&self, transaction: &Transaction) -> Result<OrderId, PaymentRefused> {
        if transaction.mchid != self.wechat.mchid() {
            return Err(PaymentRefused::Merchant);
        }
        if transaction.appid != self.wechat.appid() {
            return Err(PaymentRefused::App);
        }
        if transaction.trade_state != "SUCCESS" {
            return Err(PaymentRefused::State);
        }
        if transaction.transaction_id.is_empty() || transaction.transaction_id.len() > 64 {
            return Err(PaymentRefused::Transaction);
        }
        let uuid = Uuid::try_parse(&transaction.out_trade_no).map_err(|_| PaymentRefused::Order)?;
        let order_id = OrderId::from_uuid(uuid);
        // Only the spelling that we gave the provider.
        if out_trade_no(order_id) != transaction.out_trade_no {
            return Err(PaymentRefused::Order);
        }
        Ok(order_id)
    }

    async fn credit(
        &self,
        tx: &mut PgConnection,
        order: &Order,
        now: DateTime<Utc>,
    ) -> sqlx::Result<()> {
        let nanos = order.amount_fen * NANOS_PER_FEN;
        let posting = Posting {
            movement: Movement::top_up(order.account_id, nanos),
            cause_id: order.order_id.uuid(),
        };
        ledger::book(tx, &self.ids, &[posting], now).await?;
        let paid = OrderPaid {
            order_id: order.order_id.to_string(),
            account_id: order.account_id.to_string(),
            amount_nanos: nanos,
            pay_time: Some(Timestamp {
                seconds: now.timestamp(),
                nanos: 0,
            }),
        };
        wanwu_events::publish(tx, &self.ids, &paid).await?;
        let yuan = format!("{}.{:02}", order.amount_fen / 100, order.amount_fen % 100);
        let notification = NotificationRequested {
            account_id: order.account_id.to_string(),
            template: "order_paid".to_owned(),
            params: HashMap::from([("amount".to_owned(), yuan)]),
        };
        wanwu_events::publish(tx, &self.ids, &notification).await?;
        Ok(())
    }
}

/// The answer about an order that is credited already: fine for the payment that it was credited
/// for. A second payment of one order is money that nobody asked for; it is not hidden by a
/// success: a person gives it back.
async fn repeated(
    tx: &mut PgConnection,
    order: &Order,
    transaction: &Transaction,
) -> Result<Applied, PaymentRefused> {
    let paid = orders::payment_of(tx, order.order_id).await?;
    if paid.as_deref() == Some(transaction.transaction_id.as_str()) {
        Ok(Applied::Before)
    } else {
        Err(PaymentRefused::Transaction)
    }
}
