//! The table `outbox`. Its clock is the database's: leases of several relays are compared.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;
use wanwu_ids::EventId;

use crate::trace::TraceContext;

/// How long a relay has a row for itself: longer than the broker may take.
const LEASE_SECONDS: f64 = 15.0;

/// A row to be written.
pub(crate) struct New<'a> {
    pub(crate) id: EventId,
    pub(crate) name: &'a str,
    pub(crate) payload: &'a [u8],
    pub(crate) trace: TraceContext,
    /// Somebody consumes it. What nobody consumes is published by being written.
    pub(crate) routed: bool,
}

/// A row that a relay has leased.
#[derive(Debug, sqlx::FromRow)]
pub(crate) struct Row {
    pub(crate) event_id: Uuid,
    #[sqlx(rename = "type")]
    pub(crate) name: String,
    pub(crate) payload: Vec<u8>,
    pub(crate) traceparent: Option<String>,
    pub(crate) tracestate: Option<String>,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) attempts: i32,
}

/// What waits in the outbox.
#[derive(Clone, Copy, Debug, PartialEq, sqlx::FromRow)]
pub(crate) struct Backlog {
    pub(crate) depth: i64,
    pub(crate) oldest_seconds: f64,
}

pub(crate) async fn insert(tx: &mut PgConnection, new: &New<'_>) -> Result<(), sqlx::Error> {
    sqlx::query(
        "insert into outbox (event_id, type, payload, traceparent, tracestate, published_at)
         values ($1, $2, $3, $4, $5, case when $6 then null else now() end)",
    )
    .bind(new.id)
    .bind(new.name)
    .bind(new.payload)
    .bind(&new.trace.traceparent)
    .bind(&new.trace.tracestate)
    .bind(new.routed)
    .execute(tx)
    .await
    .map(drop)
}

/// Takes up to `limit` rows that nobody has, oldest first.
pub(crate) async fn lease(pool: &PgPool, limit: i64) -> Result<Vec<Row>, sqlx::Error> {
    sqlx::query_as(
        "with due as (
             select event_id from outbox
             where published_at is null and (leased_until is null or leased_until <= now())
             order by created_at limit $1 for update skip locked)
         update outbox set leased_until = now() + make_interval(secs => $2),
                           attempts = attempts + 1
         from due where outbox.event_id = due.event_id
         returning outbox.event_id, type, payload, traceparent, tracestate, created_at, attempts",
    )
    .bind(limit)
    .bind(LEASE_SECONDS)
    .fetch_all(pool)
    .await
}

/// The broker has them.
pub(crate) async fn mark_published(pool: &PgPool, ids: &[Uuid]) -> Result<(), sqlx::Error> {
    sqlx::query("update outbox set published_at = now() where event_id = any ($1)")
        .bind(ids)
        .execute(pool)
        .await
        .map(drop)
}

/// Gives rows back, to be taken again after `pause`.
pub(crate) async fn give_back(
    pool: &PgPool,
    ids: &[Uuid],
    pause: Duration,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "update outbox set leased_until = now() + make_interval(secs => $2)
         where event_id = any ($1) and published_at is null",
    )
    .bind(ids)
    .bind(pause.as_secs_f64())
    .execute(pool)
    .await
    .map(drop)
}

pub(crate) async fn backlog(pool: &PgPool) -> Result<Backlog, sqlx::Error> {
    sqlx::query_as(
        "select count(*) as depth,
                coalesce(extract(epoch from now() - min(created_at)), 0)::float8 as oldest_seconds
         from outbox where published_at is null",
    )
    .fetch_one(pool)
    .await
}

/// Forgets up to `limit` events that were published longer than `keep` ago, whether or not anybody
/// consumes them; oldest first.
pub(crate) async fn prune(pool: &PgPool, keep: Duration, limit: i64) -> Result<u64, sqlx::Error> {
    let result = sqlx::query(
        "delete from outbox where event_id = any (array(
             select event_id from outbox
             where published_at < now() - make_interval(secs => $1)
             order by published_at limit $2 for update skip locked))",
    )
    .bind(keep.as_secs_f64())
    .bind(limit)
    .execute(pool)
    .await?;
    Ok(result.rows_affected())
}
