use std::collections::{BTreeMap, HashMap, hash_map::Entry};

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;
use wanwu_ids::{AccountId, Ids, TransferId};

use crate::domain::{
    credit::Limit,
    ledger::{LedgerAccount, Movement, changes},
};

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
/// that would fall below zero, or a customer's free credit below minus its limit, violates
/// `ledger_accounts_balance_nanos_check`.
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
    let movements = postings.iter().map(|(_, posting)| posting.movement);
    let accounts = add_all(tx, changes(movements)).await?;
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

/// Changes balances, having locked them in their order; answers the accounts' numbers. An account
/// begins with its first entry.
async fn add_all(
    tx: &mut PgConnection,
    changes: BTreeMap<LedgerAccount, i64>,
) -> sqlx::Result<HashMap<LedgerAccount, i64>> {
    let mut numbers = lock_customers(tx, changes.keys().copied()).await?;
    for account in changes
        .keys()
        .filter(|account| account.account_id().is_none())
    {
        if let Some(number) = lock_own(tx, *account).await? {
            numbers.insert(*account, number);
        }
    }
    let known = changes
        .iter()
        .filter_map(|(account, nanos)| Some((*numbers.get(account)?, nanos)));
    let (ids, nanos): (Vec<i64>, Vec<i64>) = known.unzip();
    sqlx::query(
        "update ledger_accounts set balance_nanos = balance_nanos + change.nanos
         from unnest($1::bigint[], $2::bigint[]) as change (ledger_account_id, nanos)
         where ledger_accounts.ledger_account_id = change.ledger_account_id",
    )
    .bind(ids)
    .bind(nanos)
    .execute(&mut *tx)
    .await?;
    for (account, nanos) in changes {
        if let Entry::Vacant(new) = numbers.entry(account) {
            new.insert(open(tx, account, nanos).await?);
        }
    }
    Ok(numbers)
}

/// Locks the accounts of customers that are there, in their order; answers their numbers.
async fn lock_customers(
    tx: &mut PgConnection,
    accounts: impl Iterator<Item = LedgerAccount>,
) -> sqlx::Result<HashMap<LedgerAccount, i64>> {
    let customers = accounts.filter(|account| account.account_id().is_some());
    let accounts: Vec<LedgerAccount> = customers.collect();
    let kinds: Vec<_> = accounts.iter().map(|account| account.kind()).collect();
    let ids: Vec<_> = accounts
        .iter()
        .map(|account| account.account_id())
        .collect();
    let locked: Vec<(i64, i64)> = sqlx::query_as(
        "select wanted.place, ledger_account_id
         from unnest($1::text[], $2::uuid[]) with ordinality as wanted (kind, account_id, place)
         join ledger_accounts a on a.kind = wanted.kind and a.account_id = wanted.account_id
         order by wanted.place for no key update of a",
    )
    .bind(kinds)
    .bind(ids)
    .fetch_all(tx)
    .await?;
    let account = |place: i64| accounts[usize::try_from(place - 1).unwrap_or_default()];
    let numbers = locked
        .into_iter()
        .map(|(place, number)| (account(place), number));
    Ok(numbers.collect())
}

/// Locks an account of ours, if it is there.
async fn lock_own(tx: &mut PgConnection, account: LedgerAccount) -> sqlx::Result<Option<i64>> {
    sqlx::query_scalar(
        "select ledger_account_id from ledger_accounts
         where kind = $1 and account_id is null for no key update",
    )
    .bind(account.kind())
    .fetch_optional(tx)
    .await
}

/// The first change of an account, or one after another's first that came in between.
async fn open(tx: &mut PgConnection, account: LedgerAccount, nanos: i64) -> sqlx::Result<i64> {
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

/// The balance of an account, not locked; zero when it has no entry.
pub async fn balance(tx: &mut PgConnection, account: LedgerAccount) -> sqlx::Result<i64> {
    let balance: Option<i64> = sqlx::query_scalar(
        "select balance_nanos from ledger_accounts
         where kind = $1 and account_id is not distinct from $2",
    )
    .bind(account.kind())
    .bind(account.account_id())
    .fetch_optional(tx)
    .await?;
    Ok(balance.unwrap_or_default())
}

/// A customer's free credit and how far below zero it may go, locked until the transaction ends. The
/// limit stands in the row of the balance: nobody changes one of them while another looks at both.
pub async fn lock_credit(
    tx: &mut PgConnection,
    account_id: AccountId,
) -> sqlx::Result<(i64, Limit)> {
    let row: Option<(i64, i64, Option<DateTime<Utc>>)> = sqlx::query_as(
        "select balance_nanos, credit_nanos, credit_ends_at from ledger_accounts
         where kind = 'available' and account_id = $1 for update",
    )
    .bind(account_id)
    .fetch_optional(tx)
    .await?;
    let (balance, nanos, ends_at) = row.unwrap_or_default();
    Ok((balance, Limit { nanos, ends_at }))
}

/// What a customer could be lent now at most: free credit, what is left of the limit below zero, and
/// what is free of packages.
pub async fn spendable(tx: &mut PgConnection, account_id: AccountId) -> sqlx::Result<i64> {
    sqlx::query_scalar(
        "select coalesce(sum(greatest(balance_nanos + credit_nanos, 0)), 0)::bigint
         from ledger_accounts
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
