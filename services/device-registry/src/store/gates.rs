use std::collections::HashMap;

use chrono::{DateTime, Utc};
use prost_types::Timestamp;
use sqlx::{FromRow, PgConnection, PgPool};
use uuid::Uuid;
use wanwu_proto::device::v1::{DeviceGate, DeviceLicence};

#[derive(FromRow)]
struct DeviceRow {
    device_id: Uuid,
    app_id: Uuid,
    secret_hash: Vec<u8>,
    version: i64,
    changed_at: DateTime<Utc>,
}

#[derive(FromRow)]
struct LicenceRow {
    device_id: Uuid,
    capability: String,
    expires_at: Option<DateTime<Utc>>,
}

#[derive(FromRow)]
struct DemandRow {
    app_id: Uuid,
    capabilities: Vec<String>,
    version: i64,
    changed_at: DateTime<Utc>,
}

impl From<LicenceRow> for DeviceLicence {
    fn from(row: LicenceRow) -> Self {
        let expire_time = row.expires_at.map(|at| Timestamp {
            seconds: at.timestamp(),
            nanos: i32::try_from(at.timestamp_subsec_nanos()).unwrap_or_default(),
        });
        Self {
            capability: row.capability,
            expire_time,
        }
    }
}

impl From<DemandRow> for DeviceGate {
    fn from(row: DemandRow) -> Self {
        Self {
            gate_id: row.app_id.to_string(),
            version: row.version.unsigned_abs(),
            demanded_capabilities: row.capabilities,
            ..Self::default()
        }
    }
}

fn of_device(row: DeviceRow, licences: Vec<DeviceLicence>) -> DeviceGate {
    DeviceGate {
        gate_id: row.device_id.to_string(),
        version: row.version.unsigned_abs(),
        app_id: row.app_id.to_string(),
        secret_hash: row.secret_hash,
        licences,
        ..DeviceGate::default()
    }
}

/// What an app demands or a device holds; an unknown id demands and holds nothing.
pub async fn get(tx: &mut PgConnection, id: Uuid) -> sqlx::Result<DeviceGate> {
    let device: Option<DeviceRow> = sqlx::query_as(
        "select device_id, app_id, secret_hash, version, changed_at from devices
         where device_id = $1",
    )
    .bind(id)
    .fetch_optional(&mut *tx)
    .await?;
    if let Some(device) = device {
        let licences: Vec<LicenceRow> = sqlx::query_as(
            "select device_id, capability, expires_at from licences where device_id = $1",
        )
        .bind(id)
        .fetch_all(tx)
        .await?;
        return Ok(of_device(
            device,
            licences.into_iter().map(Into::into).collect(),
        ));
    }
    let demand: Option<DemandRow> = sqlx::query_as(
        "select app_id, capabilities, version, changed_at from demands where app_id = $1",
    )
    .bind(id)
    .fetch_optional(tx)
    .await?;
    Ok(demand.map_or_else(
        || DeviceGate {
            gate_id: id.to_string(),
            ..DeviceGate::default()
        },
        Into::into,
    ))
}

/// The gates that changed at or after `since`, with their times.
pub async fn changed_since(
    pool: &PgPool,
    since: DateTime<Utc>,
) -> sqlx::Result<Vec<(DeviceGate, DateTime<Utc>)>> {
    let demands: Vec<DemandRow> = sqlx::query_as(
        "select app_id, capabilities, version, changed_at from demands
         where changed_at >= $1 order by changed_at limit 10000",
    )
    .bind(since)
    .fetch_all(pool)
    .await?;
    let devices: Vec<DeviceRow> = sqlx::query_as(
        "select device_id, app_id, secret_hash, version, changed_at from devices
         where changed_at >= $1 order by changed_at limit 10000",
    )
    .bind(since)
    .fetch_all(pool)
    .await?;
    let mut licences: HashMap<Uuid, Vec<DeviceLicence>> = HashMap::new();
    if !devices.is_empty() {
        let ids: Vec<_> = devices.iter().map(|device| device.device_id).collect();
        let rows: Vec<LicenceRow> = sqlx::query_as(
            "select device_id, capability, expires_at from licences where device_id = any($1)",
        )
        .bind(ids)
        .fetch_all(pool)
        .await?;
        for row in rows {
            licences.entry(row.device_id).or_default().push(row.into());
        }
    }
    let demands = demands
        .into_iter()
        .map(|row| (row.changed_at, row))
        .map(|(at, row)| (row.into(), at));
    let devices = devices.into_iter().map(|row| {
        let (at, held) = (
            row.changed_at,
            licences.remove(&row.device_id).unwrap_or_default(),
        );
        (of_device(row, held), at)
    });
    Ok(demands.chain(devices).collect())
}
