use std::collections::HashMap;

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;
use wanwu_ids::{AccountId, Ids, TransferId};

use crate::domain::ledger::{LedgerAccount, Movement, changes};

/// What came of a booking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Booked {
    /// It is booked now.
    Now,
    /// The same causes were booked before: nothing changed.
    Before,
}

/// A movement and what it is booked for: the pair of kind and cause is booked once, ever.
#[derive(Clone, Copy, Debug)]
pub struct Posting {
    /// What moves.
    pub movement: Movement,
    /// The order, the lease or the call.
    pub cause_id: Uuid,
}

/// Books movements together: for each the transfer and its two entries, and the balances; or
/// nothing when their causes were booked before. Movements of nothing are left out. A balance
/// that would fall below zero violates `ledger_accounts_balance_nanos_check`.
pub async fn book(
    tx: &mut PgConnection,
    ids: &Ids,
    postings: &[Posting],
    now: DateTime<Utc>,
) -> sqlx::Result<Booked> {
    let postings: Vec<(TransferId, Posting)> = postings
        .iter()
        .filter(|posting| posting.movement.nanos > 0)
        .map(|posting| (ids.id(), *posting))
        .collect();
    if postings.is_empty() {
        return Ok(Booked::Now);
    }
    if insert_transfers(tx, &postings, now).await? == Booked::Before {
        return Ok(Booked::Before);
    }
    let mut accounts = HashMap::new();
    let movements = postings.iter().map(|(_, posting)| posting.movement);
    for (account, nanos) in changes(movements) {
        accounts.insert(account, add(tx, account, nanos).await?);
    }
    let (mut transfers, mut numbers, mut amounts) = (Vec::new(), Vec::new(), Vec::new());
    for (transfer_id, posting) in postings {
        for (account, nanos) in posting.movement.entries() {
            transfers.push(transfer_id);
            numbers.push(accounts[&account]);
            amounts.push(nanos);
        }
    }
    sqlx::query(
        "insert into entries (transfer_id, ledger_account_id, amount_nanos)
         select * from unnest($1::uuid[], $2::bigint[], $3::bigint[])",
    )
    .bind(transfers)
    .bind(numbers)
    .bind(amounts)
    .execute(tx)
    .await?;
    Ok(Booked::Now)
}

async fn insert_transfers(
    tx: &mut PgConnection,
    postings: &[(TransferId, Posting)],
    now: DateTime<Utc>,
) -> sqlx::Result<Booked> {
    let ids: Vec<_> = postings.iter().map(|(id, _)| *id).collect();
    let kinds: Vec<_> = postings
        .iter()
        .map(|(_, posting)| posting.movement.kind.as_str())
        .collect();
    let causes: Vec<_> = postings
        .iter()
        .map(|(_, posting)| posting.cause_id)
        .collect();
    let inserted = sqlx::query(
        "insert into transfers (transfer_id, kind, cause_id, booked_at)
         select id, kind, cause_id, $4
         from unnest($1::uuid[], $2::text[], $3::uuid[]) as new (id, kind, cause_id)
         on conflict on constraint transfers_kind_cause_id_key do nothing",
    )
    .bind(ids)
    .bind(kinds)
    .bind(causes)
    .bind(now)
    .execute(tx)
    .await?;
    match usize::try_from(inserted.rows_affected()) {
        Ok(0) => Ok(Booked::Before),
        Ok(all) if all == postings.len() => Ok(Booked::Now),
        // What is booked together was booked together.
        _ => Err(sqlx::Error::Protocol(
            "a part of a booking was booked before".to_owned(),
        )),
    }
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

/// What a customer could be lent now: free credit and what is free of packages.
pub async fn spendable(tx: &mut PgConnection, account_id: AccountId) -> sqlx::Result<i64> {
    sqlx::query_scalar(
        "select coalesce(sum(balance_nanos), 0)::bigint from ledger_accounts
         where account_id = $1 and kind in ('available', 'package')",
    )
    .bind(account_id)
    .fetch_one(tx)
    .await
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
