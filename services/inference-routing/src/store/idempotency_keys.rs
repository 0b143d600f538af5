//! Table `idempotency_keys`: each key of an app is good for one call in 24 hours. They are claimed and
//! given back with the rows of their calls ([`super::journal`]).

use sqlx::PgExecutor;

/// Forgets some keys whose day is over; answers how many.
pub async fn forget_old(database: impl PgExecutor<'_>) -> Result<u64, sqlx::Error> {
    let done = sqlx::query(
        "delete from idempotency_keys where call_id in (
             select call_id from idempotency_keys
             where used_at < now() - interval '24 hours' order by used_at limit 10000)",
    )
    .execute(database)
    .await?;
    Ok(done.rows_affected())
}
