use sqlx::types::Uuid;
use wanwu_ids::{OperatorId, OrderId, RefundId, RequestId};
use wanwu_postgres::{
    page::{Page, PageRequest},
    requests::{self, BodyMac, Claim, RequestKey},
};

use crate::{
    app::App,
    domain::refund::{Reason, State},
    error::Error,
    store::{
        orders, payments,
        refunds::{self, Evidence, Filter, Refund},
    },
};

/// An operator says that money is to go back.
pub struct RequestRefund {
    /// Who.
    pub operator_id: OperatorId,
    /// Names the request, for ever.
    pub request_id: RequestId,
    /// Proves that a repeated request is the same.
    pub body: BodyMac,
    /// Of which order.
    pub order_id: OrderId,
    /// How much, in fen.
    pub amount_fen: i64,
    /// Why; not one of the automatic ones.
    pub reason: Reason,
    /// The number of the dispute or case.
    pub case_id: String,
    /// SHA-256 of the evidence.
    pub evidence_sha256: Vec<u8>,
}

impl App {
    /// Writes the request of a refund; a second operator decides (obligation T3.3.4a). Requests
    /// that wait count: together they never ask for more than was paid.
    pub async fn request_refund(&self, command: RequestRefund) -> Result<Refund, Error> {
        let now = self.now();
        let refund_id: RefundId = self.ids.id();
        let mut tx = self.pool.begin().await?;
        let caller = format!("operator:{}", command.operator_id);
        let key = RequestKey {
            method: "wanwu.billing.v1.RefundService/RequestRefund",
            caller: &caller,
            request_id: command.request_id.uuid(),
        };
        let object_id: Uuid = refund_id.uuid();
        if let Claim::Repeated(made) =
            requests::claim(&mut tx, key, command.body, object_id, now, None).await?
        {
            return refunds::find(&mut tx, RefundId::from_uuid(made))
                .await?
                .ok_or(Error::NotFound);
        }
        let order = orders::lock(&mut tx, command.order_id).await?;
        let order = order.ok_or(Error::NotFound)?;
        let credited = payments::credited(&mut tx, order.order_id).await?;
        let (provider, transaction_id, paid_fen) = credited.ok_or(Error::NotFound)?;
        let back = refunds::sum_of_payment(&mut tx, provider, &transaction_id).await?;
        if command.amount_fen > paid_fen - back {
            return Err(Error::RefundTooLarge);
        }
        let refund = Refund {
            refund_id,
            order_id: order.order_id,
            provider,
            transaction_id,
            amount_fen: command.amount_fen,
            reason: command.reason,
            state: State::Requested,
            attempt: 1,
            provider_state: String::new(),
            request: Some(Evidence {
                case_id: command.case_id,
                sha256: command.evidence_sha256,
                requested_by: command.operator_id,
            }),
            decided_by: None,
            requested_at: now,
            decided_at: None,
            ended_at: None,
            query_after: now,
            queries: 0,
        };
        refunds::insert(&mut tx, &refund).await?;
        tx.commit().await?;
        Ok(refund)
    }

    /// Refunds, newest first.
    pub async fn refunds(
        &self,
        filter: Filter,
        page: &PageRequest<RefundId>,
    ) -> Result<Page<Refund>, Error> {
        let mut connection = self.pool.acquire().await?;
        let rows = refunds::list(&mut connection, filter, page.after, page.limit()).await?;
        Ok(page.page(rows, |refund| refund.refund_id))
    }
}
