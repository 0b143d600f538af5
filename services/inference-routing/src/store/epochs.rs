//! Table `router_epochs`. Time here is the database's: replicas' clocks may differ.

use std::time::Duration;

use sqlx::{PgConnection, PgExecutor};
use wanwu_ids::EpochId;

/// Begins an epoch.
pub async fn begin(
    database: impl PgExecutor<'_>,
    epoch: EpochId,
    replica: &str,
    ttl: Duration,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "insert into router_epochs (epoch_id, replica, alive_until)
         values ($1, $2, now() + make_interval(secs => $3))
         on conflict on constraint router_epochs_pkey do nothing",
    )
    .bind(epoch)
    .bind(replica)
    .bind(ttl.as_secs_f64())
    .execute(database)
    .await?;
    Ok(())
}

/// Keeps an epoch alive; false: it is fenced.
pub async fn renew(
    database: impl PgExecutor<'_>,
    epoch: EpochId,
    ttl: Duration,
) -> Result<bool, sqlx::Error> {
    let done = sqlx::query(
        "update router_epochs set alive_until = now() + make_interval(secs => $2)
         where epoch_id = $1 and fenced_at is null",
    )
    .bind(epoch)
    .bind(ttl.as_secs_f64())
    .execute(database)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Lets an epoch go, so that others need not wait until it lapses.
pub async fn end(database: impl PgExecutor<'_>, epoch: EpochId) -> Result<(), sqlx::Error> {
    sqlx::query("update router_epochs set alive_until = now() where epoch_id = $1")
        .bind(epoch)
        .execute(database)
        .await?;
    Ok(())
}

/// Fences the epochs that lapsed, but for `own`. An epoch whose journal is being written right
/// now is left for the next time.
pub async fn fence_lapsed(tx: &mut PgConnection, own: EpochId) -> Result<u64, sqlx::Error> {
    // `for update` first: it waits for, and is waited for by, the journal's `for key share`,
    // which an update alone does not.
    let lapsed: Vec<EpochId> = sqlx::query_scalar(
        "select epoch_id from router_epochs
         where settled_at is null and fenced_at is null and alive_until < now() and epoch_id <> $1
         for update skip locked",
    )
    .bind(own)
    .fetch_all(&mut *tx)
    .await?;
    let done = sqlx::query("update router_epochs set fenced_at = now() where epoch_id = any($1)")
        .bind(lapsed)
        .execute(tx)
        .await?;
    Ok(done.rows_affected())
}

/// Fenced epochs with something left to settle, oldest first.
pub async fn unsettled(database: impl PgExecutor<'_>) -> Result<Vec<EpochId>, sqlx::Error> {
    sqlx::query_scalar(
        "select epoch_id from router_epochs
         where settled_at is null and fenced_at is not null order by fenced_at limit 100",
    )
    .fetch_all(database)
    .await
}

/// Nothing of this epoch is left to do.
pub async fn settled(database: impl PgExecutor<'_>, epoch: EpochId) -> Result<(), sqlx::Error> {
    sqlx::query("update router_epochs set settled_at = now() where epoch_id = $1")
        .bind(epoch)
        .execute(database)
        .await?;
    Ok(())
}
