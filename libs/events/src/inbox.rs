//! The tables `inbox`, `inbox_retries` and `dead_letters`, by the service's clock.

use chrono::{DateTime, Duration, Utc};
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use crate::{message::Incoming, trace::TraceContext};

/// Longest payload that is kept, in bytes; only a stranger's message can be longer.
const MAX_KEPT: usize = 1024 * 1024;

/// An event that is kept in the database.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(crate) struct Kept {
    pub(crate) queue: String,
    pub(crate) event_id: Uuid,
    #[sqlx(rename = "type")]
    pub(crate) name: String,
    pub(crate) payload: Vec<u8>,
    pub(crate) traceparent: Option<String>,
    pub(crate) tracestate: Option<String>,
}

/// How a failed try is written down.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Try<'a> {
    pub(crate) queue: &'a str,
    pub(crate) event: &'a Incoming,
    pub(crate) error: &'a str,
    pub(crate) now: DateTime<Utc>,
}

impl Kept {
    pub(crate) fn incoming(&self) -> Incoming {
        Incoming {
            event_id: self.event_id,
            name: self.name.clone(),
            payload: self.payload.clone(),
            trace: TraceContext::new(self.traceparent.clone(), self.tracestate.clone()),
        }
    }
}

/// Writes that the event is applied, in the transaction of its effect. False: it was before.
/// A second transaction waits here until the first ends.
pub(crate) async fn claim(
    tx: &mut PgConnection,
    queue: &str,
    event_id: Uuid,
    now: DateTime<Utc>,
) -> Result<bool, sqlx::Error> {
    let result = sqlx::query(
        "insert into inbox (queue, event_id, applied_at) values ($1, $2, $3)
         on conflict on constraint inbox_pkey do nothing",
    )
    .bind(queue)
    .bind(event_id)
    .bind(now)
    .execute(tx)
    .await?;
    Ok(result.rows_affected() == 1)
}

/// Forgets up to `limit` events that were applied before `before`; oldest first. What waits to be
/// tried again and dead letters have no row here and stay.
pub(crate) async fn prune(
    pool: &PgPool,
    before: DateTime<Utc>,
    limit: i64,
) -> Result<u64, sqlx::Error> {
    let result = sqlx::query(
        "delete from inbox where (queue, event_id) in (
             select queue, event_id from inbox where applied_at < $1
             order by applied_at limit $2 for update skip locked)",
    )
    .bind(before)
    .bind(limit)
    .execute(pool)
    .await?;
    Ok(result.rows_affected())
}

/// As [`claim`] for an event that the broker delivers: false also when the database already
/// keeps it, to be tried again or as a dead letter.
pub(crate) async fn claim_delivered(
    tx: &mut PgConnection,
    queue: &str,
    event_id: Uuid,
    now: DateTime<Utc>,
) -> Result<bool, sqlx::Error> {
    let result = sqlx::query(
        "insert into inbox (queue, event_id, applied_at)
         select $1, $2, $3
         where not exists (select from inbox_retries where queue = $1 and event_id = $2)
           and not exists (select from dead_letters where queue = $1 and event_id = $2)
         on conflict on constraint inbox_pkey do nothing",
    )
    .bind(queue)
    .bind(event_id)
    .bind(now)
    .execute(tx)
    .await?;
    Ok(result.rows_affected() == 1)
}

/// As [`claim_delivered`] for many events, in the order of their ids so that two of these never wait
/// for each other in a circle; answers those that are new, each once.
pub(crate) async fn claim_all_delivered(
    tx: &mut PgConnection,
    queue: &str,
    event_ids: &[Uuid],
    now: DateTime<Utc>,
) -> Result<Vec<Uuid>, sqlx::Error> {
    sqlx::query_scalar(
        "insert into inbox (queue, event_id, applied_at)
         select $1, event.id, $3 from unnest($2::uuid[]) as event (id)
         where not exists (select from inbox_retries r where r.queue = $1 and r.event_id = event.id)
           and not exists (select from dead_letters d where d.queue = $1 and d.event_id = event.id)
         order by event.id
         on conflict on constraint inbox_pkey do nothing
         returning event_id",
    )
    .bind(queue)
    .bind(event_ids)
    .bind(now)
    .fetch_all(tx)
    .await
}

/// Fails when a statement of this transaction failed before. A handler that swallows such an
/// error would otherwise be lost: COMMIT of a failed transaction rolls back and answers success.
pub(crate) async fn ensure_sound(tx: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::query("select").execute(tx).await.map(drop)
}

/// Writes a failed try; answers how many there were and when the first was. `counted`: it uses
/// up a try.
pub(crate) async fn record_try(
    tx: &mut PgConnection,
    failed: Try<'_>,
    counted: bool,
) -> Result<(i32, DateTime<Utc>), sqlx::Error> {
    let Try {
        queue,
        event,
        error,
        now,
    } = failed;
    sqlx::query_as(
        "insert into inbox_retries (queue, event_id, type, payload, traceparent, tracestate,
                                    attempts, first_at, next_at, error)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $8, $9)
         on conflict on constraint inbox_retries_pkey do update
             set attempts = inbox_retries.attempts + excluded.attempts, error = excluded.error
         returning attempts, first_at",
    )
    .bind(queue)
    .bind(event.event_id)
    .bind(&event.name)
    .bind(bounded(&event.payload))
    .bind(&event.trace.traceparent)
    .bind(&event.trace.tracestate)
    .bind(i32::from(counted))
    .bind(now)
    .bind(error)
    .fetch_one(tx)
    .await
}

/// Sets when a kept event is tried again.
pub(crate) async fn schedule(
    tx: &mut PgConnection,
    queue: &str,
    event_id: Uuid,
    next: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    sqlx::query("update inbox_retries set next_at = $3 where queue = $1 and event_id = $2")
        .bind(queue)
        .bind(event_id)
        .bind(next)
        .execute(tx)
        .await
        .map(drop)
}

/// Takes up to `limit` kept events whose time has come; another replica takes them only after
/// `lease`.
pub(crate) async fn lease_due(
    connection: &mut PgConnection,
    queues: &[String],
    now: DateTime<Utc>,
    lease: Duration,
    limit: i64,
) -> Result<Vec<Kept>, sqlx::Error> {
    sqlx::query_as(
        "with due as (
             select queue, event_id from inbox_retries
             where next_at <= $2 and queue = any ($1)
             order by next_at limit $4 for update skip locked)
         update inbox_retries r set next_at = $3
         from due where r.queue = due.queue and r.event_id = due.event_id
         returning r.queue, r.event_id, type, payload, traceparent, tracestate",
    )
    .bind(queues)
    .bind(now)
    .bind(now + lease)
    .bind(limit)
    .fetch_all(connection)
    .await
}

/// The event needs no further try.
pub(crate) async fn forget_retry(
    tx: &mut PgConnection,
    queue: &str,
    event_id: Uuid,
) -> Result<(), sqlx::Error> {
    sqlx::query("delete from inbox_retries where queue = $1 and event_id = $2")
        .bind(queue)
        .bind(event_id)
        .execute(tx)
        .await
        .map(drop)
}

/// Gives the event up: from the retries to the dead letters.
pub(crate) async fn bury(
    tx: &mut PgConnection,
    failed: Try<'_>,
    attempts: i32,
) -> Result<(), sqlx::Error> {
    let Try {
        queue,
        event,
        error,
        now,
    } = failed;
    forget_retry(&mut *tx, queue, event.event_id).await?;
    sqlx::query(
        "insert into dead_letters (queue, event_id, type, payload, traceparent, tracestate,
                                   attempts, error, dead_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9)
         on conflict on constraint dead_letters_pkey do nothing",
    )
    .bind(queue)
    .bind(event.event_id)
    .bind(&event.name)
    .bind(bounded(&event.payload))
    .bind(&event.trace.traceparent)
    .bind(&event.trace.tracestate)
    .bind(attempts)
    .bind(error)
    .bind(now)
    .execute(tx)
    .await
    .map(drop)
}

fn bounded(payload: &[u8]) -> &[u8] {
    &payload[..payload.len().min(MAX_KEPT)]
}
