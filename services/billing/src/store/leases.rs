use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgConnection};
use wanwu_ids::{AccountId, EpochId, LeaseId};

use crate::domain::lease::{Lease, State, Tally};

/// A lease with its place.
#[derive(Clone, Copy, Debug)]
pub struct StoredLease {
    /// The lease.
    pub lease_id: LeaseId,
    /// Whose credit.
    pub account_id: AccountId,
    /// Which life of which router.
    pub epoch_id: EpochId,
    /// The price list that its calls are billed at.
    pub price_version: i32,
    /// What it is and what came of it.
    pub lease: Lease,
}

#[derive(FromRow)]
struct Row {
    lease_id: LeaseId,
    account_id: AccountId,
    epoch_id: EpochId,
    price_version: i32,
    amount_nanos: i64,
    state: String,
    stated_calls: Option<i64>,
    stated_nanos: Option<i64>,
    settled_calls: i64,
    settled_nanos: i64,
}

impl TryFrom<Row> for StoredLease {
    type Error = sqlx::Error;

    fn try_from(row: Row) -> sqlx::Result<Self> {
        let state = State::from_stored(&row.state)
            .ok_or_else(|| sqlx::Error::Decode("unknown lease state".into()))?;
        let stated = row.stated_calls.zip(row.stated_nanos);
        Ok(Self {
            lease_id: row.lease_id,
            account_id: row.account_id,
            epoch_id: row.epoch_id,
            price_version: row.price_version,
            lease: Lease {
                amount: row.amount_nanos,
                state,
                stated: stated.map(|(calls, nanos)| Tally { calls, nanos }),
                settled: Tally {
                    calls: row.settled_calls,
                    nanos: row.settled_nanos,
                },
            },
        })
    }
}

/// Writes a new lease.
pub async fn insert(
    tx: &mut PgConnection,
    lease: &StoredLease,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query(
        "insert into leases
             (lease_id, account_id, epoch_id, amount_nanos, price_version, state, granted_at)
         values ($1, $2, $3, $4, $5, 'open', $6)",
    )
    .bind(lease.lease_id)
    .bind(lease.account_id)
    .bind(lease.epoch_id)
    .bind(lease.lease.amount)
    .bind(lease.price_version)
    .bind(now)
    .execute(tx)
    .await?;
    Ok(())
}

/// The lease with this id.
pub async fn find(tx: &mut PgConnection, id: LeaseId) -> sqlx::Result<Option<StoredLease>> {
    let row: Option<Row> = sqlx::query_as(
        "select lease_id, account_id, epoch_id, price_version, amount_nanos, state, stated_calls,
                stated_nanos, settled_calls, settled_nanos
         from leases where lease_id = $1",
    )
    .bind(id)
    .fetch_optional(tx)
    .await?;
    row.map(TryInto::try_into).transpose()
}

/// The lease with this id, locked until the transaction ends.
pub async fn lock(tx: &mut PgConnection, id: LeaseId) -> sqlx::Result<Option<StoredLease>> {
    let row: Option<Row> = sqlx::query_as(
        "select lease_id, account_id, epoch_id, price_version, amount_nanos, state, stated_calls,
                stated_nanos, settled_calls, settled_nanos
         from leases where lease_id = $1 for update",
    )
    .bind(id)
    .fetch_optional(tx)
    .await?;
    row.map(TryInto::try_into).transpose()
}

/// The leases with these ids, locked in their order until the transaction ends.
pub async fn lock_all(
    tx: &mut PgConnection,
    ids: &[LeaseId],
) -> sqlx::Result<BTreeMap<LeaseId, StoredLease>> {
    let rows: Vec<Row> = sqlx::query_as(
        "select lease_id, account_id, epoch_id, price_version, amount_nanos, state, stated_calls,
                stated_nanos, settled_calls, settled_nanos
         from leases where lease_id = any ($1) order by lease_id for update",
    )
    .bind(ids)
    .fetch_all(tx)
    .await?;
    let keyed = |row: Row| Ok((row.lease_id, row.try_into()?));
    rows.into_iter().map(keyed).collect()
}

/// Writes what settling changed of leases that the transaction holds.
pub async fn save_settled(
    tx: &mut PgConnection,
    leases: impl Iterator<Item = &StoredLease>,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    let (mut ids, mut states, mut calls, mut nanos) = (vec![], vec![], vec![], vec![]);
    for stored in leases {
        ids.push(stored.lease_id);
        states.push(stored.lease.state.as_str());
        calls.push(stored.lease.settled.calls);
        nanos.push(stored.lease.settled.nanos);
    }
    sqlx::query(
        "update leases set
             state = new.state, settled_calls = new.calls, settled_nanos = new.nanos,
             freed_at = case when new.state = 'freed' then coalesce(freed_at, $5) end
         from unnest($1::uuid[], $2::text[], $3::bigint[], $4::bigint[])
              as new (lease_id, state, calls, nanos)
         where leases.lease_id = new.lease_id",
    )
    .bind(ids)
    .bind(states)
    .bind(calls)
    .bind(nanos)
    .bind(now)
    .execute(tx)
    .await?;
    Ok(())
}

/// Writes what can change of a lease that the transaction holds.
pub async fn save(
    tx: &mut PgConnection,
    stored: &StoredLease,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    let lease = stored.lease;
    sqlx::query(
        "update leases set
             state = $2, stated_calls = $3, stated_nanos = $4, settled_calls = $5,
             settled_nanos = $6,
             closed_at = case when $2 = 'open' then null else coalesce(closed_at, $7) end,
             freed_at = case when $2 = 'freed' then coalesce(freed_at, $7) end
         where lease_id = $1",
    )
    .bind(stored.lease_id)
    .bind(lease.state.as_str())
    .bind(lease.stated.map(|stated| stated.calls))
    .bind(lease.stated.map(|stated| stated.nanos))
    .bind(lease.settled.calls)
    .bind(lease.settled.nanos)
    .bind(now)
    .execute(tx)
    .await?;
    Ok(())
}

/// Writes what a lease is worth that the transaction holds.
pub async fn reduce(tx: &mut PgConnection, stored: &StoredLease) -> sqlx::Result<()> {
    sqlx::query("update leases set amount_nanos = $2 where lease_id = $1")
        .bind(stored.lease_id)
        .bind(stored.lease.amount)
        .execute(tx)
        .await?;
    Ok(())
}

/// The open leases of an epoch.
pub async fn open_of(tx: &mut PgConnection, id: EpochId) -> sqlx::Result<Vec<StoredLease>> {
    let rows: Vec<Row> = sqlx::query_as(
        "select lease_id, account_id, epoch_id, price_version, amount_nanos, state, stated_calls,
                stated_nanos, settled_calls, settled_nanos
         from leases where epoch_id = $1 and state = 'open'",
    )
    .bind(id)
    .fetch_all(tx)
    .await?;
    rows.into_iter().map(TryInto::try_into).collect()
}

/// Seconds since the oldest lease was closed that is not freed yet; zero when there is none.
pub async fn oldest_unsettled(tx: &mut PgConnection, now: DateTime<Utc>) -> sqlx::Result<f64> {
    let closed_at: Option<DateTime<Utc>> =
        sqlx::query_scalar("select min(closed_at) from leases where state = 'closed'")
            .fetch_one(tx)
            .await?;
    Ok(closed_at.map_or(0.0, |at| (now - at).as_seconds_f64().max(0.0)))
}
