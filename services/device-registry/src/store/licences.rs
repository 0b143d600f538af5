use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use wanwu_ids::DeviceId;

/// Licenses a device for a capability; a licence that is there gets the new end.
pub async fn grant(
    tx: &mut PgConnection,
    device_id: DeviceId,
    capability: &str,
    expires_at: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query(
        "insert into licences (device_id, capability, expires_at, granted_at)
         values ($1, $2, $3, $4)
         on conflict (device_id, capability) do update set expires_at = $3, granted_at = $4",
    )
    .bind(device_id)
    .bind(capability)
    .bind(expires_at)
    .bind(now)
    .execute(tx)
    .await?;
    Ok(())
}

/// Ends a licence; `false` when there was none.
pub async fn revoke(
    tx: &mut PgConnection,
    device_id: DeviceId,
    capability: &str,
) -> sqlx::Result<bool> {
    let result = sqlx::query("delete from licences where device_id = $1 and capability = $2")
        .bind(device_id)
        .bind(capability)
        .execute(tx)
        .await?;
    Ok(result.rows_affected() == 1)
}
