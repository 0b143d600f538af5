use chrono::{DateTime, NaiveDate, Utc};
use sqlx::{FromRow, PgConnection};
use wanwu_ids::AccountId;

use crate::domain::credit::{Due, Limit, Reminder, overdue};

/// Months of an account that are looked at: what is older is in the newer ones.
const MONTHS: i64 = 12;

/// A month that an account is to be told of.
#[derive(Clone, Copy, Debug, FromRow)]
pub struct Untold {
    /// Who owes.
    pub account_id: AccountId,
    /// The month's first day.
    pub month: NaiveDate,
    /// What was owed at its end, in 10^-9 CNY.
    pub owed: i64,
    /// Until when.
    pub due_at: DateTime<Utc>,
}

/// What a customer can spend (below zero: beyond what was paid), what is lent to replicas, and the limit,
/// read at once.
pub async fn read(tx: &mut PgConnection, account_id: AccountId) -> sqlx::Result<(i64, i64, Limit)> {
    let row: (i64, i64, i64, Option<DateTime<Utc>>) = sqlx::query_as(
        "select coalesce(sum(balance_nanos) filter (where kind = 'available'), 0)::bigint,
                coalesce(sum(balance_nanos) filter (where kind = 'leased'), 0)::bigint,
                coalesce(max(credit_nanos), 0), max(credit_ends_at)
         from ledger_accounts where account_id = $1",
    )
    .bind(account_id)
    .fetch_one(tx)
    .await?;
    let (available, leased, nanos, ends_at) = row;
    Ok((available, leased, Limit { nanos, ends_at }))
}

/// What an account owed at the ends of its last months, and what it paid since each: top-ups and bank
/// transfers, less what the bank took back of them. The amounts are the ledger's.
pub async fn dues(tx: &mut PgConnection, account_id: AccountId) -> sqlx::Result<Vec<Due>> {
    let rows: Vec<(i64, i64, DateTime<Utc>)> = sqlx::query_as(
        "with due as (
             select month, owed_nanos, due_at,
                    ((month + interval '1 month')::timestamp at time zone 'Asia/Shanghai') as closed_at
             from credit_dues where account_id = $1 order by month desc limit $2
         ), paid as (
             select t.booked_at, e.amount_nanos
             from (
                 select 'top_up' as kind, order_id as cause_id from orders where account_id = $1
                 union all
                 select k.kind, bank_match_id from bank_matches
                 cross join (values ('bank_credit'), ('bank_recall')) as k (kind)
                 where account_id = $1
             ) as came
             join transfers t on t.kind = came.kind and t.cause_id = came.cause_id
             join entries e using (transfer_id)
             join ledger_accounts a using (ledger_account_id)
             where a.kind = 'available' and t.booked_at >= (select min(closed_at) from due)
         )
         select owed_nanos,
                coalesce((select sum(amount_nanos) from paid where booked_at >= closed_at), 0)::bigint,
                due_at
         from due order by month",
    )
    .bind(account_id)
    .bind(MONTHS)
    .fetch_all(tx)
    .await?;
    let due = |(owed, paid, due_at)| Due { owed, paid, due_at };
    Ok(rows.into_iter().map(due).collect())
}

/// Months up to `last` that are not closed of accounts that have or had a limit, from the month on in
/// which they first had one.
pub async fn unclosed(
    tx: &mut PgConnection,
    last: NaiveDate,
    most: i64,
) -> sqlx::Result<Vec<(AccountId, NaiveDate)>> {
    sqlx::query_as(
        "select account_id, first_day::date from (
             select account_id,
                    date_trunc('month', min(set_at) at time zone 'Asia/Shanghai') as first_month
             from credit_limits group by account_id
         ) as customers
         cross join lateral generate_series(first_month, $1::date::timestamp, interval '1 month')
             as first_day
         where not exists (
             select from credit_dues d
             where d.account_id = customers.account_id and d.month = first_day::date)
         order by first_day, account_id limit $2",
    )
    .bind(last)
    .bind(most)
    .fetch_all(tx)
    .await
}

/// The sum of what an account could spend and what was lent of it before an instant, by its entries.
pub async fn held_before(
    tx: &mut PgConnection,
    account_id: AccountId,
    at: DateTime<Utc>,
) -> sqlx::Result<i64> {
    sqlx::query_scalar(
        "select coalesce(sum(e.amount_nanos), 0)::bigint
         from ledger_accounts a join entries e using (ledger_account_id)
         join transfers t using (transfer_id)
         where a.account_id = $1 and a.kind in ('available', 'leased') and t.booked_at < $2",
    )
    .bind(account_id)
    .bind(at)
    .fetch_one(tx)
    .await
}

/// Closes a month of an account, once.
pub async fn insert_due(
    tx: &mut PgConnection,
    account_id: AccountId,
    month: NaiveDate,
    (owed, due_at): (i64, DateTime<Utc>),
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query(
        "insert into credit_dues (account_id, month, owed_nanos, due_at, made_at)
         values ($1, $2, $3, $4, $5) on conflict on constraint credit_dues_pkey do nothing",
    )
    .bind(account_id)
    .bind(month)
    .bind(owed)
    .bind(due_at)
    .bind(now)
    .execute(tx)
    .await?;
    Ok(())
}

/// What every account that has or had a limit owes, in 10^-9 CNY.
pub async fn owed_by_all(tx: &mut PgConnection) -> sqlx::Result<i64> {
    sqlx::query_scalar(
        "select coalesce(sum(greatest(-held, 0)), 0)::bigint from (
             select sum(balance_nanos) as held from ledger_accounts
             where kind in ('available', 'leased')
               and account_id in (select account_id from credit_limits)
             group by account_id
         ) as customers",
    )
    .fetch_one(tx)
    .await
}

/// Months that something is owed of and that nobody was told of: that they are due, or, when their time is
/// over, what came of it.
pub async fn without_reminder(
    tx: &mut PgConnection,
    now: DateTime<Utc>,
    most: i64,
) -> sqlx::Result<Vec<Untold>> {
    sqlx::query_as(
        "select account_id, month, owed_nanos as owed, due_at from credit_dues d
         where owed_nanos > 0
           and not exists (
               select from credit_reminders r
               where r.account_id = d.account_id and r.month = d.month
                 and case when d.due_at > $1 then r.kind = 'due' else r.kind <> 'due' end)
         order by month, account_id limit $2",
    )
    .bind(now)
    .bind(most)
    .fetch_all(tx)
    .await
}

/// Notes that an account was told; `false`: it was already.
pub async fn insert_reminder(
    tx: &mut PgConnection,
    account_id: AccountId,
    month: NaiveDate,
    kind: Reminder,
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    let done = sqlx::query(
        "insert into credit_reminders (account_id, month, kind, told_at) values ($1, $2, $3, $4)
         on conflict on constraint credit_reminders_pkey do nothing",
    )
    .bind(account_id)
    .bind(month)
    .bind(kind.as_str())
    .bind(now)
    .execute(tx)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Accounts with something that is overdue: accounts, of those that have or had a limit.
pub async fn overdue_accounts(tx: &mut PgConnection, now: DateTime<Utc>) -> sqlx::Result<i64> {
    let accounts: Vec<AccountId> = sqlx::query_scalar(
        "select distinct account_id from credit_dues where owed_nanos > 0 and due_at <= $1",
    )
    .bind(now)
    .fetch_all(&mut *tx)
    .await?;
    let mut count = 0;
    for account_id in accounts {
        count += i64::from(overdue(&dues(tx, account_id).await?, now) > 0);
    }
    Ok(count)
}
