use sqlx::PgConnection;
use wanwu_ids::{AccountId, OperatorId, RefundId};

use crate::{
    app::App,
    domain::refund::{Effect, Event},
    error::Error,
    store::{
        orders,
        refunds::{self, Refund},
    },
};

impl App {
    /// A second operator approves: the money is set aside at once, from what the customer has
    /// left and then from what they spent, and the provider is told in the background.
    pub async fn approve_refund(
        &self,
        operator_id: OperatorId,
        id: RefundId,
    ) -> Result<Refund, Error> {
        self.decide(operator_id, id, Event::Approve).await
    }

    /// A second operator refuses.
    pub async fn refuse_refund(
        &self,
        operator_id: OperatorId,
        id: RefundId,
    ) -> Result<Refund, Error> {
        self.decide(operator_id, id, Event::Refuse).await
    }

    async fn decide(
        &self,
        operator_id: OperatorId,
        id: RefundId,
        event: Event,
    ) -> Result<Refund, Error> {
        let now = self.now();
        let mut tx = self.pool.begin().await?;
        let (mut refund, account_id) = lock(&mut tx, id).await?;
        let requested_by = refund.request.as_ref().map(|request| request.requested_by);
        if requested_by == Some(operator_id) {
            return Err(Error::SameOperator);
        }
        let (state, effect) = refund.state.after(event).ok_or(Error::RefundState)?;
        refund.state = state;
        refund.decided_by = Some(operator_id);
        refund.decided_at = Some(now);
        refund.query_after = now;
        refunds::save(&mut tx, &refund).await?;
        if effect == Effect::SetAside {
            self.set_aside(&mut tx, &refund, account_id).await?;
            self.reverse_invoices(&mut tx, refund.order_id).await?;
        }
        tx.commit().await?;
        Ok(refund)
    }

    /// Sends a refund that the provider closed again, under a new number: the old one is spent
    /// there.
    pub async fn retry_refund(&self, id: RefundId) -> Result<Refund, Error> {
        let mut tx = self.pool.begin().await?;
        let (mut refund, _) = lock(&mut tx, id).await?;
        let (state, _) = refund.state.after(Event::Retry).ok_or(Error::RefundState)?;
        refund.state = state;
        refund.attempt += 1;
        refund.queries = 0;
        refund.ended_at = None;
        refund.query_after = self.now();
        refunds::save(&mut tx, &refund).await?;
        tx.commit().await?;
        Ok(refund)
    }
}

/// The refund and whose it is; its order is locked until the transaction ends.
async fn lock(tx: &mut PgConnection, id: RefundId) -> Result<(Refund, AccountId), Error> {
    let known = refunds::find(tx, id).await?.ok_or(Error::NotFound)?;
    let order = orders::lock(tx, known.order_id).await?;
    let order = order.ok_or(Error::NotFound)?;
    let refund = refunds::find(tx, id).await?.ok_or(Error::NotFound)?;
    Ok((refund, order.account_id))
}
