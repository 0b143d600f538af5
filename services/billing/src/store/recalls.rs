use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgConnection, PgPool};
use wanwu_ids::AccountId;

/// Says that idle leases of an account are wanted back.
pub async fn want(tx: &mut PgConnection, account_id: AccountId) -> sqlx::Result<()> {
    sqlx::query(
        "insert into recalls (account_id, wanted_at) values ($1, clock_timestamp())
         on conflict (account_id) do update set wanted_at = clock_timestamp()",
    )
    .bind(account_id)
    .execute(tx)
    .await?;
    Ok(())
}

/// Says that a budget or a package of an account changed: its leases are wanted back, and replicas
/// ask anew which lease pays for which call.
pub async fn change(tx: &mut PgConnection, account_id: AccountId) -> sqlx::Result<()> {
    sqlx::query(
        "insert into recalls (account_id, wanted_at, changed_at)
         values ($1, clock_timestamp(), clock_timestamp())
         on conflict (account_id) do update set wanted_at = clock_timestamp(),
             changed_at = clock_timestamp()",
    )
    .bind(account_id)
    .execute(tx)
    .await?;
    Ok(())
}

/// What is wanted back, and when that was said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromRow)]
pub struct Wanted {
    /// Whose leases.
    pub account_id: AccountId,
    /// When.
    pub wanted_at: DateTime<Utc>,
    /// When a budget or a package last changed, within the last minute.
    pub changed_at: Option<DateTime<Utc>>,
}

/// Accounts whose idle leases were wanted back within the last second, by the database's clock: no
/// replica's clock decides, and none is missed because another was committed before it.
pub async fn recent(pool: &PgPool) -> sqlx::Result<Vec<Wanted>> {
    sqlx::query_as(
        "select account_id, wanted_at,
                case when changed_at > clock_timestamp() - interval '1 minute' then changed_at end
                    as changed_at
         from recalls
         where wanted_at > clock_timestamp() - interval '1 second'
         order by wanted_at desc limit 1000",
    )
    .fetch_all(pool)
    .await
}

/// The account's phone is to be told that its credit ran out: `true` at most once a day, and only
/// where it had some.
pub async fn notify_exhausted(
    tx: &mut PgConnection,
    account_id: AccountId,
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    let told = sqlx::query(
        "update exhaustions set notified_at = $2
         where account_id = $1 and coalesce(notified_at < $2 - interval '1 day', true)
           and exists (select from ledger_accounts
                       where account_id = $1 and kind in ('available', 'package'))",
    )
    .bind(account_id)
    .bind(now)
    .execute(tx)
    .await?;
    Ok(told.rows_affected() == 1)
}

/// An account's credit ran out: `true` at most once a minute.
pub async fn tell_exhausted(
    tx: &mut PgConnection,
    account_id: AccountId,
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    let told = sqlx::query(
        "insert into exhaustions as e (account_id, told_at) values ($1, $2)
         on conflict (account_id) do update set told_at = $2
         where e.told_at < $2 - interval '1 minute'",
    )
    .bind(account_id)
    .bind(now)
    .execute(tx)
    .await?;
    Ok(told.rows_affected() == 1)
}
