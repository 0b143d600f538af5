use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgConnection};
use wanwu_ids::{OperatorId, OrderId, RefundId};

use crate::domain::{
    payment::Provider,
    refund::{Reason, State},
};

/// Money that goes back to the payer of one payment.
#[derive(Clone, Debug)]
pub struct Refund {
    /// The refund.
    pub refund_id: RefundId,
    /// The order.
    pub order_id: OrderId,
    /// Who moved the payment.
    pub provider: Provider,
    /// Its number there.
    pub transaction_id: String,
    /// How much, in fen.
    pub amount_fen: i64,
    /// Why.
    pub reason: Reason,
    /// How far.
    pub state: State,
    /// 1 at first; one more for each new number.
    pub attempt: u32,
    /// What the provider says of it.
    pub provider_state: String,
    /// The case and the operators; `None`: by itself.
    pub request: Option<Evidence>,
    /// Who decided.
    pub decided_by: Option<OperatorId>,
    /// When it was requested.
    pub requested_at: DateTime<Utc>,
    /// When somebody decided.
    pub decided_at: Option<DateTime<Utc>>,
    /// When it succeeded or failed.
    pub ended_at: Option<DateTime<Utc>>,
    /// Before this the provider is not asked.
    pub query_after: DateTime<Utc>,
    /// How often the provider was asked.
    pub queries: u32,
}

/// Why an operator says that money is to go back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evidence {
    /// The number of the dispute or case.
    pub case_id: String,
    /// SHA-256 of what is kept with the case.
    pub sha256: Vec<u8>,
    /// Who requested it.
    pub requested_by: OperatorId,
}

#[derive(FromRow)]
struct Row {
    refund_id: RefundId,
    order_id: OrderId,
    provider: String,
    provider_transaction_id: String,
    amount_fen: i64,
    reason: String,
    state: String,
    attempt: i32,
    provider_state: String,
    case_id: Option<String>,
    evidence_sha256: Option<Vec<u8>>,
    requested_by: Option<OperatorId>,
    decided_by: Option<OperatorId>,
    requested_at: DateTime<Utc>,
    decided_at: Option<DateTime<Utc>>,
    ended_at: Option<DateTime<Utc>>,
    query_after: DateTime<Utc>,
    queries: i32,
}

impl TryFrom<Row> for Refund {
    type Error = sqlx::Error;

    fn try_from(row: Row) -> sqlx::Result<Self> {
        let unknown = |what: &'static str| sqlx::Error::Decode(what.into());
        Ok(Self {
            refund_id: row.refund_id,
            order_id: row.order_id,
            provider: Provider::from_stored(&row.provider)
                .ok_or_else(|| unknown("unknown provider"))?,
            transaction_id: row.provider_transaction_id,
            amount_fen: row.amount_fen,
            reason: Reason::from_stored(&row.reason)
                .ok_or_else(|| unknown("unknown refund reason"))?,
            state: State::from_stored(&row.state).ok_or_else(|| unknown("unknown refund state"))?,
            attempt: row.attempt.unsigned_abs(),
            provider_state: row.provider_state,
            request: row.requested_by.map(|requested_by| Evidence {
                case_id: row.case_id.unwrap_or_default(),
                sha256: row.evidence_sha256.unwrap_or_default(),
                requested_by,
            }),
            decided_by: row.decided_by,
            requested_at: row.requested_at,
            decided_at: row.decided_at,
            ended_at: row.ended_at,
            query_after: row.query_after,
            queries: row.queries.unsigned_abs(),
        })
    }
}

/// Writes a new refund. Violates `refunds_at_most_paid_check` when more goes back than was paid,
/// and `refunds_automatic_key` when the payment goes back by itself already.
pub async fn insert(tx: &mut PgConnection, refund: &Refund) -> sqlx::Result<()> {
    let request = refund.request.as_ref();
    sqlx::query(
        "insert into refunds (refund_id, order_id, provider, provider_transaction_id, amount_fen,
             reason, state, case_id, evidence_sha256, requested_by, requested_at, query_after,
             decided_by, decided_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)",
    )
    .bind(refund.refund_id)
    .bind(refund.order_id)
    .bind(refund.provider.as_str())
    .bind(&refund.transaction_id)
    .bind(refund.amount_fen)
    .bind(refund.reason.as_str())
    .bind(refund.state.as_str())
    .bind(request.map(|request| &request.case_id))
    .bind(request.map(|request| &request.sha256))
    .bind(request.map(|request| request.requested_by))
    .bind(refund.requested_at)
    .bind(refund.query_after)
    .bind(refund.decided_by)
    .bind(refund.decided_at)
    .execute(tx)
    .await?;
    Ok(())
}

/// The refund with this id.
pub async fn find(tx: &mut PgConnection, id: RefundId) -> sqlx::Result<Option<Refund>> {
    let row: Option<Row> = sqlx::query_as("select * from refunds where refund_id = $1")
        .bind(id)
        .fetch_optional(tx)
        .await?;
    row.map(TryInto::try_into).transpose()
}

/// Writes what can change of a refund whose order the transaction holds.
pub async fn save(tx: &mut PgConnection, refund: &Refund) -> sqlx::Result<()> {
    sqlx::query(
        "update refunds set state = $2, attempt = $3, provider_state = $4, decided_by = $5,
             decided_at = $6, ended_at = $7, query_after = $8, queries = $9
         where refund_id = $1",
    )
    .bind(refund.refund_id)
    .bind(refund.state.as_str())
    .bind(i32::try_from(refund.attempt).unwrap_or(i32::MAX))
    .bind(&refund.provider_state)
    .bind(refund.decided_by)
    .bind(refund.decided_at)
    .bind(refund.ended_at)
    .bind(refund.query_after)
    .bind(i32::try_from(refund.queries).unwrap_or(i32::MAX))
    .execute(tx)
    .await?;
    Ok(())
}

/// What goes back of a payment, in fen, requests that wait included.
pub async fn sum_of_payment(
    tx: &mut PgConnection,
    provider: Provider,
    transaction_id: &str,
) -> sqlx::Result<i64> {
    sqlx::query_scalar(
        "select coalesce(sum(amount_fen), 0)::bigint from refunds
         where provider = $1 and provider_transaction_id = $2 and state <> 'refused'",
    )
    .bind(provider.as_str())
    .bind(transaction_id)
    .fetch_one(tx)
    .await
}

/// What goes back of an order's credited payment by what was decided, in fen.
pub async fn decided_of_order(tx: &mut PgConnection, id: OrderId) -> sqlx::Result<i64> {
    sqlx::query_scalar(
        "select coalesce(sum(r.amount_fen), 0)::bigint
         from refunds r join payments p using (provider, provider_transaction_id)
         where p.order_id = $1 and not p.surplus and r.state not in ('requested', 'refused')",
    )
    .bind(id)
    .fetch_one(tx)
    .await
}

/// Refunds that the provider is to be told or asked about now, oldest first.
pub async fn due(
    tx: &mut PgConnection,
    now: DateTime<Utc>,
    limit: i64,
) -> sqlx::Result<Vec<RefundId>> {
    sqlx::query_scalar(
        "select refund_id from refunds where state in ('approved', 'sent') and query_after <= $1
         order by query_after limit $2",
    )
    .bind(now)
    .bind(limit)
    .fetch_all(tx)
    .await
}

/// Which refunds are listed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Filter {
    /// Only of this order.
    pub order_id: Option<OrderId>,
    /// Only in this state.
    pub state: Option<State>,
}

/// Refunds, newest first, those before `before`.
pub async fn list(
    tx: &mut PgConnection,
    filter: Filter,
    before: Option<RefundId>,
    limit: i64,
) -> sqlx::Result<Vec<Refund>> {
    let rows: Vec<Row> = sqlx::query_as(
        "select * from refunds
         where ($1::uuid is null or order_id = $1) and ($2::text is null or state = $2)
           and ($3::uuid is null or refund_id < $3)
         order by refund_id desc limit $4",
    )
    .bind(filter.order_id)
    .bind(filter.state.map(State::as_str))
    .bind(before)
    .bind(limit)
    .fetch_all(tx)
    .await?;
    rows.into_iter().map(TryInto::try_into).collect()
}

/// How many refunds are not with their payer, by state, and how many of them the provider calls
/// abnormal.
pub async fn count_open(tx: &mut PgConnection) -> sqlx::Result<[(&'static str, i64); 5]> {
    let (requested, approved, sent, failed, abnormal): (i64, i64, i64, i64, i64) = sqlx::query_as(
        "select count(*) filter (where state = 'requested'),
                count(*) filter (where state = 'approved'),
                count(*) filter (where state = 'sent' and provider_state <> 'ABNORMAL'),
                count(*) filter (where state = 'failed'),
                count(*) filter (where state = 'sent' and provider_state = 'ABNORMAL')
         from refunds where state not in ('succeeded', 'refused')",
    )
    .fetch_one(tx)
    .await?;
    Ok([
        ("requested", requested),
        ("approved", approved),
        ("sent", sent),
        ("failed", failed),
        ("abnormal", abnormal),
    ])
}
