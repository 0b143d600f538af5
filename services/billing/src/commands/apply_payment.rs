use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use wanwu_ids::RefundId;
use wanwu_proto::billing::v1::OrderPaid;

use crate::{
    app::App,
    convert::timestamp,
    domain::{
        ledger::{LedgerAccount, Movement},
        money::NANOS_PER_FEN,
        order::{Event, Money},
        payment::{Applied, PaymentMismatch, ProvedPayment},
        payment_channel::Said,
        refund,
    },
    error::Error,
    providers::alipay::yuan,
    store::{
        ledger::{self, Posting},
        orders::{self, Order},
        payment_channels, payments, products,
        refunds::{self, Refund},
    },
};

/// A proved payment is not applied.
#[derive(Debug, thiserror::Error)]
pub enum PaymentRefused {
    /// It is not for this order.
    #[error("the payment is refused")]
    Mismatch(#[from] PaymentMismatch),
    /// It could not be looked at.
    #[error("the payment could not be booked")]
    Failed(#[from] Error),
}

impl PaymentRefused {
    /// For metrics.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Mismatch(mismatch) => mismatch.kind(),
            Self::Failed(_) => "failed",
        }
    }
}

impl From<sqlx::Error> for PaymentRefused {
    fn from(error: sqlx::Error) -> Self {
        Self::Failed(error.into())
    }
}

impl App {
    /// Applies what a provider proved, once: the one way for callbacks and queries (obligation
    /// T3.3.4b). The order must be offered through that provider, and the amounts must agree.
    /// The first payment is credited; any other goes back to its payer by itself.
    pub async fn apply_payment(&self, payment: &ProvedPayment) -> Result<Applied, PaymentRefused> {
        let mut tx = self.pool.begin().await?;
        let mut order = orders::lock(&mut tx, payment.order_id)
            .await?
            .ok_or(PaymentMismatch::Order)?;
        if payment.amount_fen != order.amount_fen {
            return Err(PaymentMismatch::Amount.into());
        }
        let known = payments::order_of(&mut tx, payment.provider, &payment.transaction_id).await?;
        match known {
            Some(paid) if paid == order.order_id => return Ok(Applied::Before),
            Some(_) => return Err(PaymentMismatch::Transaction.into()),
            None => {}
        }
        let now = self.now();
        self.mark_paid(&mut tx, payment).await?;
        let (state, money) = order.state.after(Event::PaymentProved);
        order.state = state;
        let reason = match money {
            Money::ReturnDuplicate => Some(refund::Reason::DuplicatePayment),
            Money::ReturnLate => Some(refund::Reason::PaidAfterCancellation),
            Money::Credit | Money::None => None,
        };
        let paid_at = payment.paid_at.unwrap_or(now);
        payments::insert(&mut tx, payment, paid_at, reason.is_some()).await?;
        let applied = if let Some(reason) = reason {
            self.give_back(&mut tx, &order, payment, reason, now)
                .await?;
            Applied::Returned
        } else {
            order.paid_at = Some(now);
            orders::save(&mut tx, &order).await?;
            self.credit(&mut tx, &order, payment, now).await?;
            Applied::Credited
        };
        payment_channels::hurry(&mut tx, order.order_id, now).await?;
        wanwu_crash::point("payment.before_commit");
        tx.commit().await?;
        wanwu_crash::point("payment.committed");
        if applied == Applied::Credited {
            metrics::counter!("wanwu_orders_ended_total", "state" => "paid").increment(1);
            self.freed.notify_waiters();
            if order.package_product.is_some() {
                self.tell_changed(order.account_id);
            }
        }
        Ok(applied)
    }

    /// The payment is bound to a provider through which the order is offered.
    async fn mark_paid(
        &self,
        tx: &mut PgConnection,
        payment: &ProvedPayment,
    ) -> Result<(), PaymentRefused> {
        let channels = payment_channels::of_orders(tx, &[payment.order_id]).await?;
        let channel = channels
            .into_iter()
            .find(|channel| channel.method.provider() == payment.provider);
        let mut channel = channel.ok_or(PaymentMismatch::Channel)?;
        channel.state = channel.state.after(Said::Paid, None);
        payment_channels::save(tx, &channel).await?;
        Ok(())
    }

    async fn give_back(
        &self,
        tx: &mut PgConnection,
        order: &Order,
        payment: &ProvedPayment,
        reason: refund::Reason,
        now: DateTime<Utc>,
    ) -> sqlx::Result<()> {
        let refund_id: RefundId = self.ids.id();
        let refund = Refund {
            refund_id,
            order_id: order.order_id,
            provider: payment.provider,
            transaction_id: payment.transaction_id.clone(),
            amount_fen: payment.amount_fen,
            reason,
            state: refund::State::Approved,
            attempt: 1,
            provider_state: String::new(),
            request: None,
            decided_by: None,
            requested_at: now,
            decided_at: None,
            ended_at: None,
            query_after: now,
            queries: 0,
        };
        refunds::insert(tx, &refund).await?;
        let cash = LedgerAccount::from(payment.provider);
        let nanos = payment.amount_fen * NANOS_PER_FEN;
        let posting = Posting {
            movement: Movement::surplus(cash, order.account_id, nanos),
            cause_id: refund_id.uuid(),
        };
        ledger::book(tx, &self.ids, &[posting], now).await?;
        tracing::info!(order.id = %order.order_id, refund.id = %refund_id,
            reason = reason.as_str(), "a payment goes back by itself");
        Ok(())
    }

    async fn credit(
        &self,
        tx: &mut PgConnection,
        order: &Order,
        payment: &ProvedPayment,
        now: DateTime<Utc>,
    ) -> sqlx::Result<()> {
        let nanos = order.amount_fen * NANOS_PER_FEN;
        let cash = LedgerAccount::from(payment.provider);
        let item = products::find_item(tx, order.order_id).await?;
        if let Some(product) = &order.package_product {
            let bought = (order.order_id, order.account_id);
            self.sell_package(tx, bought, product, cash, now).await?;
        } else {
            let movement = match &item {
                None => Movement::top_up(cash, order.account_id, nanos),
                Some(_) => Movement::sale(cash, order.account_id, nanos),
            };
            let posting = Posting {
                movement,
                cause_id: order.order_id.uuid(),
            };
            ledger::book(tx, &self.ids, &[posting], now).await?;
        }
        let paid = OrderPaid {
            order_id: order.order_id.to_string(),
            account_id: order.account_id.to_string(),
            amount_nanos: nanos,
            pay_time: Some(timestamp(now)),
            product_id: item
                .as_ref()
                .map_or_else(String::new, |it| it.product_id.clone()),
            quantity: item.map_or(0, |item| item.quantity),
        };
        wanwu_events::publish(tx, &self.ids, &paid).await?;
        let amount = [("amount", yuan(order.amount_fen))];
        self.notify(tx, order.account_id, "order_paid", amount)
            .await?;
        Ok(())
    }
}
