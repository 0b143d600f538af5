use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgConnection};
use uuid::Uuid;
use wanwu_ids::{AccountId, OperatorId};

use crate::domain::credit::{Limit, State};

/// A limit that is proposed or was decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The request.
    pub credit_limit_request_id: Uuid,
    /// Whose limit.
    pub account_id: AccountId,
    /// How far.
    pub state: State,
    /// How far below zero, in 10^-9 CNY.
    pub limit_nanos: i64,
    /// The number of the contract.
    pub contract: String,
    /// The enterprise's code.
    pub uscc: String,
    /// When the limit ends.
    pub ends_at: DateTime<Utc>,
    /// When it was requested.
    pub requested_at: DateTime<Utc>,
    /// By whom.
    pub requested_by: OperatorId,
    /// When it was decided.
    pub decided_at: Option<DateTime<Utc>>,
    /// Who decided.
    pub decided_by: Option<OperatorId>,
}

/// A limit that came into force.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct CreditLimit {
    /// Its place among all.
    pub credit_limit_id: i64,
    /// In 10^-9 CNY.
    pub limit_nanos: i64,
    /// When it ends; `None`: there is none.
    pub ends_at: Option<DateTime<Utc>>,
    /// The request that two people agreed on.
    pub credit_limit_request_id: Option<Uuid>,
    /// Since when.
    pub set_at: DateTime<Utc>,
    /// Who set it; `None`: its time was over.
    pub set_by: Option<OperatorId>,
}

#[derive(FromRow)]
struct Row {
    credit_limit_request_id: Uuid,
    account_id: AccountId,
    state: String,
    limit_nanos: i64,
    contract: String,
    uscc: String,
    ends_at: DateTime<Utc>,
    requested_at: DateTime<Utc>,
    requested_by: OperatorId,
    decided_at: Option<DateTime<Utc>>,
    decided_by: Option<OperatorId>,
}

impl TryFrom<Row> for Request {
    type Error = sqlx::Error;

    fn try_from(row: Row) -> sqlx::Result<Self> {
        Ok(Self {
            credit_limit_request_id: row.credit_limit_request_id,
            account_id: row.account_id,
            state: State::from_stored(&row.state)
                .ok_or_else(|| sqlx::Error::Decode("unknown state of a request".into()))?,
            limit_nanos: row.limit_nanos,
            contract: row.contract,
            uscc: row.uscc,
            ends_at: row.ends_at,
            requested_at: row.requested_at,
            requested_by: row.requested_by,
            decided_at: row.decided_at,
            decided_by: row.decided_by,
        })
    }
}

/// Writes a new request. Violates `credit_limit_requests_open_key` when one of the account is open.
pub async fn insert_request(tx: &mut PgConnection, request: &Request) -> sqlx::Result<()> {
    sqlx::query(
        "insert into credit_limit_requests (credit_limit_request_id, account_id, state, limit_nanos,
             contract, uscc, ends_at, requested_at, requested_by)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
    )
    .bind(request.credit_limit_request_id)
    .bind(request.account_id)
    .bind(request.state.as_str())
    .bind(request.limit_nanos)
    .bind(&request.contract)
    .bind(&request.uscc)
    .bind(request.ends_at)
    .bind(request.requested_at)
    .bind(request.requested_by)
    .execute(tx)
    .await?;
    Ok(())
}

/// The request with this id.
pub async fn find_request(tx: &mut PgConnection, id: Uuid) -> sqlx::Result<Option<Request>> {
    let row: Option<Row> =
        sqlx::query_as("select * from credit_limit_requests where credit_limit_request_id = $1")
            .bind(id)
            .fetch_optional(tx)
            .await?;
    row.map(TryInto::try_into).transpose()
}

/// The request with this id, locked until the transaction ends.
pub async fn lock_request(tx: &mut PgConnection, id: Uuid) -> sqlx::Result<Option<Request>> {
    let row: Option<Row> = sqlx::query_as(
        "select * from credit_limit_requests where credit_limit_request_id = $1 for update",
    )
    .bind(id)
    .fetch_optional(tx)
    .await?;
    row.map(TryInto::try_into).transpose()
}

/// Writes what was decided about a request that the transaction holds.
pub async fn decide_request(tx: &mut PgConnection, request: &Request) -> sqlx::Result<()> {
    sqlx::query(
        "update credit_limit_requests set state = $2, decided_at = $3, decided_by = $4
         where credit_limit_request_id = $1",
    )
    .bind(request.credit_limit_request_id)
    .bind(request.state.as_str())
    .bind(request.decided_at)
    .bind(request.decided_by)
    .execute(tx)
    .await?;
    Ok(())
}

/// Requests, newest first, those before `before`.
pub async fn list_requests(
    tx: &mut PgConnection,
    before: Option<Uuid>,
    limit: i64,
) -> sqlx::Result<Vec<Request>> {
    let rows: Vec<Row> = sqlx::query_as(
        "select * from credit_limit_requests where $1::uuid is null or credit_limit_request_id < $1
         order by credit_limit_request_id desc limit $2",
    )
    .bind(before)
    .bind(limit)
    .fetch_all(tx)
    .await?;
    rows.into_iter().map(TryInto::try_into).collect()
}

/// Opens a customer's free credit, if nothing was booked on it yet.
pub async fn open_account(tx: &mut PgConnection, account_id: AccountId) -> sqlx::Result<()> {
    sqlx::query(
        "insert into ledger_accounts (kind, account_id) values ('available', $1)
         on conflict on constraint ledger_accounts_kind_account_id_key do nothing",
    )
    .bind(account_id)
    .execute(tx)
    .await?;
    Ok(())
}

/// Puts a limit in force; the transaction holds the account's free credit, so that the newest limit is
/// the last one. Violates `credit_limits_two_operators_check` when it is more than what is in force and
/// no two people agreed.
pub async fn insert(
    tx: &mut PgConnection,
    account_id: AccountId,
    limit: Limit,
    by: (Option<OperatorId>, Option<Uuid>),
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query(
        "insert into credit_limits (account_id, limit_nanos, ends_at, set_by,
             credit_limit_request_id, set_at)
         values ($1, $2, $3, $4, $5, $6)",
    )
    .bind(account_id)
    .bind(limit.nanos)
    .bind(limit.ends_at)
    .bind(by.0)
    .bind(by.1)
    .bind(now)
    .execute(tx)
    .await?;
    Ok(())
}

/// The account's limits, newest first, those before `before`.
pub async fn list(
    tx: &mut PgConnection,
    account_id: AccountId,
    before: Option<i64>,
    limit: i64,
) -> sqlx::Result<Vec<CreditLimit>> {
    sqlx::query_as(
        "select credit_limit_id, limit_nanos, ends_at, credit_limit_request_id, set_at, set_by
         from credit_limits
         where account_id = $1 and ($2::bigint is null or credit_limit_id < $2)
         order by credit_limit_id desc limit $3",
    )
    .bind(account_id)
    .bind(before)
    .bind(limit)
    .fetch_all(tx)
    .await
}

/// The account has or had a limit.
pub async fn any(tx: &mut PgConnection, account_id: AccountId) -> sqlx::Result<bool> {
    sqlx::query_scalar("select exists (select from credit_limits where account_id = $1)")
        .bind(account_id)
        .fetch_one(tx)
        .await
}

/// Accounts whose limit's time is over.
pub async fn over(
    tx: &mut PgConnection,
    now: DateTime<Utc>,
    most: i64,
) -> sqlx::Result<Vec<AccountId>> {
    sqlx::query_scalar(
        "select account_id from (
             select distinct on (account_id) account_id, ends_at from credit_limits
             order by account_id, credit_limit_id desc
         ) as newest
         where ends_at <= $1 order by account_id limit $2",
    )
    .bind(now)
    .bind(most)
    .fetch_all(tx)
    .await
}
