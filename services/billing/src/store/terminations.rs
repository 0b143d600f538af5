use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgConnection};
use uuid::Uuid;
use wanwu_ids::{AccountId, OperatorId, OrderId, RefundId};

use crate::domain::{payment::Provider, termination::State};

/// A contract that we end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Termination {
    /// The termination.
    pub termination_id: Uuid,
    /// Whose contract.
    pub account_id: AccountId,
    /// How far.
    pub state: State,
    /// The number of the case that says why.
    pub case_id: String,
    /// When the contract ends.
    pub ends_at: DateTime<Utc>,
    /// When it was requested.
    pub requested_at: DateTime<Utc>,
    /// By whom.
    pub requested_by: OperatorId,
    /// When notice was given.
    pub noticed_at: Option<DateTime<Utc>>,
    /// Who decided.
    pub decided_by: Option<OperatorId>,
    /// When it was over.
    pub ended_at: Option<DateTime<Utc>>,
    /// Credit that came by bank and is left, in 10^-9 CNY.
    pub by_bank_nanos: i64,
}

/// What goes back for one order.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct Compensation {
    /// The order.
    pub order_id: OrderId,
    /// What was paid.
    pub paid_fen: i64,
    /// What of it was given back before.
    pub refunded_fen: i64,
    /// What of it was not provided.
    pub unspent_nanos: i64,
    /// What goes back.
    pub amount_fen: i64,
    /// The refund that pays it.
    pub refund_id: Option<RefundId>,
}

/// A paid order.
#[derive(Clone, Debug)]
pub struct PaidOrder {
    /// The order.
    pub order_id: OrderId,
    /// Who moved the credited payment.
    pub provider: Provider,
    /// Its number there.
    pub transaction_id: String,
    /// What was paid.
    pub paid_fen: i64,
    /// What of it is or was given back.
    pub refunded_fen: i64,
    /// Of an order of a product: whether it was provided. `None`: of a top-up.
    pub provided: Option<bool>,
}

#[derive(FromRow)]
struct Row {
    termination_id: Uuid,
    account_id: AccountId,
    state: String,
    case_id: String,
    ends_at: DateTime<Utc>,
    requested_at: DateTime<Utc>,
    requested_by: OperatorId,
    noticed_at: Option<DateTime<Utc>>,
    decided_by: Option<OperatorId>,
    ended_at: Option<DateTime<Utc>>,
    by_bank_nanos: i64,
}

impl TryFrom<Row> for Termination {
    type Error = sqlx::Error;

    fn try_from(row: Row) -> sqlx::Result<Self> {
        Ok(Self {
            termination_id: row.termination_id,
            account_id: row.account_id,
            state: State::from_stored(&row.state)
                .ok_or_else(|| sqlx::Error::Decode("unknown state of a termination".into()))?,
            case_id: row.case_id,
            ends_at: row.ends_at,
            requested_at: row.requested_at,
            requested_by: row.requested_by,
            noticed_at: row.noticed_at,
            decided_by: row.decided_by,
            ended_at: row.ended_at,
            by_bank_nanos: row.by_bank_nanos,
        })
    }
}

/// Writes a new one. Violates `terminations_open_key` when one of the account is open.
pub async fn insert(tx: &mut PgConnection, termination: &Termination) -> sqlx::Result<()> {
    sqlx::query(
        "insert into terminations
             (termination_id, account_id, state, case_id, ends_at, requested_at, requested_by)
         values ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(termination.termination_id)
    .bind(termination.account_id)
    .bind(termination.state.as_str())
    .bind(&termination.case_id)
    .bind(termination.ends_at)
    .bind(termination.requested_at)
    .bind(termination.requested_by)
    .execute(tx)
    .await?;
    Ok(())
}

/// The one with this id.
pub async fn find(tx: &mut PgConnection, id: Uuid) -> sqlx::Result<Option<Termination>> {
    let row: Option<Row> = sqlx::query_as("select * from terminations where termination_id = $1")
        .bind(id)
        .fetch_optional(tx)
        .await?;
    row.map(TryInto::try_into).transpose()
}

/// The one with this id, locked until the transaction ends.
pub async fn lock(tx: &mut PgConnection, id: Uuid) -> sqlx::Result<Option<Termination>> {
    let row: Option<Row> =
        sqlx::query_as("select * from terminations where termination_id = $1 for update")
            .bind(id)
            .fetch_optional(tx)
            .await?;
    row.map(TryInto::try_into).transpose()
}

/// Writes what can change of one that the transaction holds.
pub async fn save(tx: &mut PgConnection, termination: &Termination) -> sqlx::Result<()> {
    sqlx::query(
        "update terminations
         set state = $2, noticed_at = $3, decided_by = $4, ended_at = $5, by_bank_nanos = $6
         where termination_id = $1",
    )
    .bind(termination.termination_id)
    .bind(termination.state.as_str())
    .bind(termination.noticed_at)
    .bind(termination.decided_by)
    .bind(termination.ended_at)
    .bind(termination.by_bank_nanos)
    .execute(tx)
    .await?;
    Ok(())
}

/// Those whose time is over and that are not ended.
pub async fn due(tx: &mut PgConnection, now: DateTime<Utc>, limit: i64) -> sqlx::Result<Vec<Uuid>> {
    sqlx::query_scalar(
        "select termination_id from terminations
         where state in ('noticed', 'ending') and ends_at <= $1 order by ends_at limit $2",
    )
    .bind(now)
    .bind(limit)
    .fetch_all(tx)
    .await
}

/// Terminations, newest first, those before `before`.
pub async fn list(
    tx: &mut PgConnection,
    before: Option<Uuid>,
    limit: i64,
) -> sqlx::Result<Vec<Termination>> {
    let rows: Vec<Row> = sqlx::query_as(
        "select * from terminations where $1::uuid is null or termination_id < $1
         order by termination_id desc limit $2",
    )
    .bind(before)
    .bind(limit)
    .fetch_all(tx)
    .await?;
    rows.into_iter().map(TryInto::try_into).collect()
}

/// The account's contract is over, or ends now.
pub async fn is_over(tx: &mut PgConnection, account_id: AccountId) -> sqlx::Result<bool> {
    sqlx::query_scalar(
        "select exists (select from terminations
                        where account_id = $1 and state in ('ending', 'ended'))",
    )
    .bind(account_id)
    .fetch_one(tx)
    .await
}

/// Leases of the account that hold credit.
pub async fn count_leases(tx: &mut PgConnection, account_id: AccountId) -> sqlx::Result<i64> {
    sqlx::query_scalar("select count(*) from leases where account_id = $1 and state <> 'freed'")
        .bind(account_id)
        .fetch_one(tx)
        .await
}

/// The account's paid orders, locked until the transaction ends, oldest first.
pub async fn lock_paid_orders(
    tx: &mut PgConnection,
    account_id: AccountId,
) -> sqlx::Result<Vec<PaidOrder>> {
    let rows: Vec<(OrderId, String, String, i64, i64, Option<bool>)> = sqlx::query_as(
        "select o.order_id, p.provider, p.provider_transaction_id, p.amount_fen,
                coalesce((select sum(r.amount_fen) from refunds r
                          where r.provider = p.provider
                            and r.provider_transaction_id = p.provider_transaction_id
                            and r.state <> 'refused'), 0)::bigint,
                (select f.state = 'completed' from fulfilments f where f.order_id = o.order_id)
         from orders o join payments p on p.order_id = o.order_id and not p.surplus
         where o.account_id = $1 order by o.order_id for update of o",
    )
    .bind(account_id)
    .fetch_all(tx)
    .await?;
    rows.into_iter()
        .map(
            |(order_id, provider, transaction_id, paid_fen, refunded_fen, provided)| {
                let provider = Provider::from_stored(&provider)
                    .ok_or_else(|| sqlx::Error::Decode("unknown provider".into()))?;
                Ok(PaidOrder {
                    order_id,
                    provider,
                    transaction_id,
                    paid_fen,
                    refunded_fen,
                    provided,
                })
            },
        )
        .collect()
}

/// Writes what goes back for an order.
pub async fn compensate(
    tx: &mut PgConnection,
    id: Uuid,
    compensation: &Compensation,
) -> sqlx::Result<()> {
    sqlx::query(
        "insert into compensations (termination_id, order_id, paid_fen, refunded_fen, unspent_nanos,
             amount_fen, refund_id)
         values ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(id)
    .bind(compensation.order_id)
    .bind(compensation.paid_fen)
    .bind(compensation.refunded_fen)
    .bind(compensation.unspent_nanos)
    .bind(compensation.amount_fen)
    .bind(compensation.refund_id)
    .execute(tx)
    .await?;
    Ok(())
}

/// What goes back, order by order.
pub async fn compensations(tx: &mut PgConnection, id: Uuid) -> sqlx::Result<Vec<Compensation>> {
    sqlx::query_as(
        "select order_id, paid_fen, refunded_fen, unspent_nanos, amount_fen, refund_id
         from compensations where termination_id = $1 order by order_id",
    )
    .bind(id)
    .fetch_all(tx)
    .await
}
