use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgPool};
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

/// Accounts whose idle leases were wanted back within the last second, by the database's clock: no
/// replica's clock decides, and none is missed because another was committed before it.
pub async fn recent(pool: &PgPool) -> sqlx::Result<Vec<(AccountId, DateTime<Utc>)>> {
    sqlx::query_as(
        "select account_id, wanted_at from recalls
         where wanted_at > clock_timestamp() - interval '1 second'
         order by wanted_at desc limit 1000",
    )
    .fetch_all(pool)
    .await
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
