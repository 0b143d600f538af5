use futures::StreamExt;
use wanwu_ids::RefundId;
use wanwu_proto::billing::v1::PaymentRefunded;

use crate::{
    app::App,
    convert::timestamp,
    domain::{
        ledger::{LedgerAccount, Movement},
        money::NANOS_PER_FEN,
        refund::{Effect, Event, State, next_query},
    },
    error::Error,
    providers::{RefundProgress, RefundReply},
    store::{
        ledger::{self, Posting},
        orders,
        refunds::{self, Refund},
    },
};

/// Refunds that are sent or asked about at the same time.
const AT_ONCE: usize = 8;

impl App {
    /// Tells the providers of every approved refund and asks about those on their way. Answers how
    /// many were looked at.
    pub async fn send_refunds(&self) -> Result<usize, Error> {
        let mut connection = self.pool.acquire().await?;
        let due = refunds::due(&mut connection, self.now(), 100).await?;
        drop(connection);
        let found = due.len();
        futures::stream::iter(due)
            .for_each_concurrent(AT_ONCE, |id| async move {
                if let Err(error) = self.send_refund(id).await {
                    tracing::warn!(refund.id = %id, error = &error as &dyn std::error::Error,
                        "a refund could not be sent; it will be again");
                }
            })
            .await;
        Ok(found)
    }

    async fn send_refund(&self, id: RefundId) -> Result<(), Error> {
        let Some((refund, paid_fen)) = self.start_refund(id).await? else {
            return Ok(());
        };
        let provider = self.providers.get(refund.provider)?;
        // The number is the same each time: the provider gives it back once, however often it is
        // asked and whatever answers were lost.
        let mut reply = if refund.state == State::Sent {
            provider.query_refund(&refund).await?
        } else {
            provider.refund(&refund, paid_fen).await?
        };
        if reply.progress == RefundProgress::Unknown {
            reply = provider.refund(&refund, paid_fen).await?;
        }
        wanwu_crash::point("refund.answered");
        self.apply_refund_reply(&refund, &reply).await.map(drop)
    }

    /// Counts an attempt before it is made.
    async fn start_refund(&self, id: RefundId) -> Result<Option<(Refund, i64)>, Error> {
        let now = self.now();
        let mut tx = self.pool.begin().await?;
        let Some(found) = refunds::find(&mut tx, id).await? else {
            return Ok(None);
        };
        let order = orders::lock(&mut tx, found.order_id).await?;
        let refund = refunds::find(&mut tx, id).await?;
        let (Some(order), Some(mut refund)) = (order, refund) else {
            return Ok(None);
        };
        let under_way = matches!(refund.state, State::Approved | State::Sent);
        if !under_way || refund.query_after > now {
            return Ok(None);
        }
        refund.queries += 1;
        refund.query_after = next_query(now, refund.queries);
        refunds::save(&mut tx, &refund).await?;
        wanwu_crash::point("refund_attempt.before_commit");
        tx.commit().await?;
        wanwu_crash::point("refund_attempt.committed");
        // Every payment of an order is the order's amount.
        Ok(Some((refund, order.amount_fen)))
    }

    /// Does what a provider proved about a refund, once: the one way for answers and notices.
    /// Answers whether something changed.
    pub async fn apply_refund_reply(
        &self,
        refund: &Refund,
        reply: &RefundReply,
    ) -> Result<bool, Error> {
        let event = match reply.progress {
            RefundProgress::Succeeded => Event::Proved,
            RefundProgress::Working => Event::Taken,
            RefundProgress::Closed => Event::Closed,
            RefundProgress::Unknown => return Ok(false),
        };
        let now = self.now();
        let mut tx = self.pool.begin().await?;
        let order = orders::lock(&mut tx, refund.order_id)
            .await?
            .ok_or(Error::NotFound)?;
        let mut refund = refunds::find(&mut tx, refund.refund_id)
            .await?
            .filter(|known| known.attempt == refund.attempt)
            .ok_or(Error::NotFound)?;
        let Some((state, effect)) = refund.state.after(event) else {
            return Ok(false);
        };
        refund.state = state;
        refund.provider_state.clone_from(&reply.word);
        refund.ended_at = matches!(state, State::Succeeded | State::Failed).then_some(now);
        refunds::save(&mut tx, &refund).await?;
        if effect == Effect::Leave {
            let nanos = refund.amount_fen * NANOS_PER_FEN;
            let cash = LedgerAccount::from(refund.provider);
            let posting = Posting {
                movement: Movement::refund(order.account_id, cash, nanos),
                cause_id: refund.refund_id.uuid(),
            };
            ledger::book(&mut tx, &self.ids, &[posting], now).await?;
            let refunded = PaymentRefunded {
                refund_id: refund.refund_id.to_string(),
                order_id: refund.order_id.to_string(),
                account_id: order.account_id.to_string(),
                amount_nanos: nanos,
                reason: wanwu_proto::billing::v1::RefundReason::from(refund.reason).into(),
                refund_time: Some(timestamp(now)),
            };
            wanwu_events::publish(&mut tx, &self.ids, &refunded).await?;
        }
        wanwu_crash::point("refund.before_commit");
        tx.commit().await?;
        wanwu_crash::point("refund.committed");
        if matches!(state, State::Succeeded | State::Failed) {
            let state = state.as_str();
            metrics::counter!("wanwu_refunds_ended_total", "state" => state).increment(1);
        }
        if state == State::Failed || reply.word == "ABNORMAL" {
            tracing::error!(refund.id = %refund.refund_id, provider = reply.word,
                "a refund wants a person");
        }
        Ok(true)
    }
}
