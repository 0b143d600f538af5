use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgConnection};
use uuid::Uuid;
use wanwu_ids::{AccountId, TransferId};

use crate::domain::ledger::{LedgerAccount, Movement};

/// What came of a movement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Booked {
    /// It is booked now.
    Now,
    /// The same cause was booked before: nothing changed.
    Before,
}

/// Books a movement: the transfer, its two entries and the balances, or nothing when its cause was
/// booked before. A balance that would fall below zero violates
/// `ledger_accounts_balance_nanos_check`.
pub async fn book(
    tx: &mut PgConnection,
    transfer_id: TransferId,
    movement: Movement,
    cause_id: Uuid,
    now: DateTime<Utc>,
) -> sqlx::Result<Booked> {
    let inserted = sqlx::query(
        "insert into transfers (transfer_id, kind, cause_id, booked_at) values ($1, $2, $3, $4)
         on conflict on constraint transfers_kind_cause_id_key do nothing",
    )
    .bind(transfer_id)
    .bind(movement.kind.as_str())
    .bind(cause_id)
    .bind(now)
    .execute(&mut *tx)
    .await?;
    if inserted.rows_affected() == 0 {
        return Ok(Booked::Before);
    }
    for (account, nanos) in movement.entries() {
        let ledger_account_id = add(tx, account, nanos).await?;
        sqlx::query(
            "insert into entries (transfer_id, ledger_account_id, amount_nanos) values ($1, $2, $3)",
        )
        .bind(transfer_id)
        .bind(ledger_account_id)
        .bind(nanos)
        .execute(&mut *tx)
        .await?;
    }
    Ok(Booked::Now)
}

/// Changes a balance; an account begins with its first entry. An upsert alone would not do:
/// PostgreSQL checks the row to be inserted even where it then updates, and a charge alone is
/// below zero.
async fn add(tx: &mut PgConnection, account: LedgerAccount, nanos: i64) -> sqlx::Result<i64> {
    let known: Option<i64> = sqlx::query_scalar(
        "update ledger_accounts set balance_nanos = balance_nanos + $3
         where kind = $1 and account_id is not distinct from $2
         returning ledger_account_id",
    )
    .bind(account.kind())
    .bind(account.account_id())
    .bind(nanos)
    .fetch_optional(&mut *tx)
    .await?;
    if let Some(id) = known {
        return Ok(id);
    }
    sqlx::query_scalar(
        "insert into ledger_accounts as a (kind, account_id, balance_nanos)
         values ($1, $2, $3)
         on conflict on constraint ledger_accounts_kind_account_id_key
         do update set balance_nanos = a.balance_nanos + $3
         returning ledger_account_id",
    )
    .bind(account.kind())
    .bind(account.account_id())
    .bind(nanos)
    .fetch_one(tx)
    .await
}

/// The balance of an account, locked until the transaction ends; zero when it has no entry.
pub async fn lock_balance(tx: &mut PgConnection, account: LedgerAccount) -> sqlx::Result<i64> {
    let balance: Option<i64> = sqlx::query_scalar(
        "select balance_nanos from ledger_accounts
         where kind = $1 and account_id is not distinct from $2 for update",
    )
    .bind(account.kind())
    .bind(account.account_id())
    .fetch_optional(tx)
    .await?;
    Ok(balance.unwrap_or_default())
}

/// What a customer can spend, and what is lent to replicas.
pub async fn balances(tx: &mut PgConnection, account_id: AccountId) -> sqlx::Result<(i64, i64)> {
    sqlx::query_as(
        "select coalesce(sum(balance_nanos) filter (where kind = 'available'), 0)::bigint,
                coalesce(sum(balance_nanos) filter (where kind = 'leased'), 0)::bigint
         from ledger_accounts where account_id = $1",
    )
    .bind(account_id)
    .fetch_one(tx)
    .await
}

/// What the entries say about the ledger.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct Audit {
    /// The sum of all entries, as decimal text.
    pub entries_sum: String,
    /// Transfers that do not sum to zero.
    pub unbalanced_transfers: i64,
    /// Accounts whose balance is not the sum of their entries.
    pub wrong_balances: i64,
    /// How many entries there are.
    pub entries: i64,
}

/// Recomputes the ledger from its entries, in one snapshot.
pub async fn audit(tx: &mut PgConnection) -> sqlx::Result<Audit> {
    sqlx::query_as(
        "select
             (select coalesce(sum(amount_nanos), 0)::text from entries) as entries_sum,
             (select count(*) from (
                 select from entries group by transfer_id
                 having sum(amount_nanos) <> 0) as unbalanced) as unbalanced_transfers,
             (select count(*) from ledger_accounts a
              where a.balance_nanos <> (
                  select coalesce(sum(e.amount_nanos), 0) from entries e
                  where e.ledger_account_id = a.ledger_account_id)) as wrong_balances,
             (select count(*) from entries) as entries",
    )
    .fetch_one(tx)
    .await
}
