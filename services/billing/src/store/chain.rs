//! The chains of the ledger as an audit reads them.

use chrono::{DateTime, Utc};
use futures::stream::BoxStream;
use sqlx::{FromRow, PgConnection};
use uuid::Uuid;

/// An account with one of its entries, or without any.
#[derive(Clone, Debug, FromRow)]
pub struct Line {
    /// The account's number in the ledger.
    pub ledger_account_id: i64,
    /// The account's kind.
    pub account_kind: String,
    /// Whose it is.
    pub account_id: Option<Uuid>,
    /// Its balance, in 10^-9 CNY.
    pub balance_nanos: i64,
    /// Where its chain ends; `None`: not sealed yet.
    pub head_position: Option<i64>,
    /// With which hash.
    pub head_hash: Option<Vec<u8>>,
    /// The entry's transfer; `None`: the account has no entry.
    pub transfer_id: Option<Uuid>,
    /// The entry's amount, in 10^-9 CNY.
    pub amount_nanos: Option<i64>,
    /// Its place.
    pub chain_position: Option<i64>,
    /// Its hash.
    pub chain_hash: Option<Vec<u8>>,
    /// The transfer's kind.
    pub kind: Option<String>,
    /// The transfer's cause.
    pub cause_id: Option<Uuid>,
    /// When the transfer was booked.
    pub booked_at: Option<DateTime<Utc>>,
}

/// Every entry by account and place, every account at least once.
pub fn lines(tx: &mut PgConnection) -> BoxStream<'_, sqlx::Result<Line>> {
    sqlx::query_as(
        "select ledger_account_id, a.kind as account_kind, a.account_id, a.balance_nanos,
                a.chain_position as head_position, a.chain_hash as head_hash,
                e.transfer_id, e.amount_nanos, e.chain_position, e.chain_hash,
                t.kind, t.cause_id, t.booked_at
         from ledger_accounts a
         left join entries e using (ledger_account_id)
         left join transfers t using (transfer_id)
         order by ledger_account_id, e.chain_position, e.transfer_id",
    )
    .fetch(tx)
}

/// One snapshot for everything that the transaction reads, which may take an hour.
pub async fn read_at_one_instant(tx: &mut PgConnection) -> sqlx::Result<()> {
    sqlx::query("set transaction isolation level repeatable read, read only")
        .execute(&mut *tx)
        .await?;
    sqlx::query("set local statement_timeout = '1h'")
        .execute(tx)
        .await?;
    Ok(())
}

/// Transfers that have not two or more entries that sum to zero.
pub async fn unbalanced_transfers(tx: &mut PgConnection, limit: i64) -> sqlx::Result<Vec<Uuid>> {
    sqlx::query_scalar(
        "select t.transfer_id from transfers t left join entries e using (transfer_id)
         group by t.transfer_id
         having count(e.amount_nanos) < 2 or sum(e.amount_nanos) <> 0
         order by t.transfer_id limit $1",
    )
    .bind(limit)
    .fetch_all(tx)
    .await
}

/// Calls whose bill is not what the ledger booked for them, and bookings of no call.
pub async fn wrong_calls(tx: &mut PgConnection, limit: i64) -> sqlx::Result<Vec<Uuid>> {
    sqlx::query_scalar(
        "select coalesce(c.call_id, t.cause_id) as id
         from (select call_id, amount_nanos from calls where amount_nanos > 0) as c
         full join (
             select cause_id, amount_nanos
             from transfers join entries using (transfer_id)
             where kind = 'usage' and amount_nanos > 0
         ) as t on t.cause_id = c.call_id
         where c.amount_nanos is distinct from t.amount_nanos
         order by id limit $1",
    )
    .bind(limit)
    .fetch_all(tx)
    .await
}
