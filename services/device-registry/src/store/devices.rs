use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgConnection};
use wanwu_ids::{AppId, DeviceId};
use wanwu_personal::IndexEntry;

/// A device of an app.
#[derive(Clone, Debug, FromRow)]
pub struct Device {
    /// The device.
    pub device_id: DeviceId,
    /// The app that it belongs to.
    pub app_id: AppId,
    /// Version of what is told about it; rises with every change.
    pub version: i64,
}

/// What a registration brings.
pub struct Registration<'a> {
    /// The id that a new device gets.
    pub device_id: DeviceId,
    /// The app.
    pub app_id: AppId,
    /// `oaid` or `android_id`.
    pub kind: &'a str,
    /// The keyed pseudonym of the identifier in this app.
    pub pseudonym: &'a IndexEntry,
    /// SHA-256 of the new token's secret.
    pub secret_hash: &'a [u8],
    /// Now.
    pub now: DateTime<Utc>,
}

/// Registers a device, or gives a registered one a new token. The same identifier that arrives
/// twice at once is one device.
pub async fn register(tx: &mut PgConnection, r: &Registration<'_>) -> sqlx::Result<Device> {
    sqlx::query_as(
        "insert into devices as d
             (device_id, app_id, kind, pseudonym_key, pseudonym, secret_hash, registered_at)
         values ($1, $2, $3, $4, $5, $6, $7)
         on conflict on constraint devices_app_id_pseudonym_key do update set
             secret_hash = $6, version = d.version + 1, changed_at = clock_timestamp()
         returning device_id, app_id, version",
    )
    .bind(r.device_id)
    .bind(r.app_id)
    .bind(r.kind)
    .bind(&r.pseudonym.key_id)
    .bind(&r.pseudonym.mac[..])
    .bind(r.secret_hash)
    .bind(r.now)
    .fetch_one(tx)
    .await
}

/// The app's device with a pseudonym made by an older key, if there is one: gets the new key's.
pub async fn rekey(
    tx: &mut PgConnection,
    app_id: AppId,
    kind: &str,
    old: &IndexEntry,
    new: &IndexEntry,
) -> sqlx::Result<()> {
    sqlx::query(
        "update devices set pseudonym_key = $5, pseudonym = $6
         where app_id = $1 and kind = $2 and pseudonym_key = $3 and pseudonym = $4
           and not exists (select from devices n where n.app_id = $1 and n.kind = $2
                           and n.pseudonym_key = $5 and n.pseudonym = $6)",
    )
    .bind(app_id)
    .bind(kind)
    .bind(&old.key_id)
    .bind(&old.mac[..])
    .bind(&new.key_id)
    .bind(&new.mac[..])
    .execute(tx)
    .await?;
    Ok(())
}

/// How many devices an app has.
pub async fn count(tx: &mut PgConnection, app_id: AppId) -> sqlx::Result<i64> {
    sqlx::query_scalar("select count(*) from devices where app_id = $1")
        .bind(app_id)
        .fetch_one(tx)
        .await
}

/// The device with this id, locked until the transaction ends.
pub async fn lock(tx: &mut PgConnection, id: DeviceId) -> sqlx::Result<Option<Device>> {
    sqlx::query_as("select device_id, app_id, version from devices where device_id = $1 for update")
        .bind(id)
        .fetch_optional(tx)
        .await
}

/// Says that something of the device changed; answers its new version.
pub async fn touch(tx: &mut PgConnection, id: DeviceId) -> sqlx::Result<i64> {
    sqlx::query_scalar(
        "update devices set version = version + 1, changed_at = clock_timestamp()
         where device_id = $1 returning version",
    )
    .bind(id)
    .fetch_one(tx)
    .await
}
