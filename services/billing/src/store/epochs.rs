use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use wanwu_ids::EpochId;

/// The epoch is not fenced, and cannot be until the transaction ends.
pub async fn hold(tx: &mut PgConnection, id: EpochId) -> sqlx::Result<bool> {
    sqlx::query("insert into epochs (epoch_id) values ($1) on conflict do nothing")
        .bind(id)
        .execute(&mut *tx)
        .await?;
    let fenced: Option<DateTime<Utc>> =
        sqlx::query_scalar("select fenced_at from epochs where epoch_id = $1 for share")
            .bind(id)
            .fetch_one(tx)
            .await?;
    Ok(fenced.is_none())
}

/// Fences an epoch, having waited for every transaction that holds it.
pub async fn fence(tx: &mut PgConnection, id: EpochId, now: DateTime<Utc>) -> sqlx::Result<()> {
    sqlx::query(
        "insert into epochs as e (epoch_id, fenced_at) values ($1, $2)
         on conflict (epoch_id) do update set fenced_at = coalesce(e.fenced_at, $2)",
    )
    .bind(id)
    .bind(now)
    .execute(tx)
    .await?;
    Ok(())
}
