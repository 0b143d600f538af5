//! A batch of the journal, in one statement that commits itself: whatever it holds, a call waits for one
//! answer of the database.

use std::collections::HashSet;

use sqlx::PgConnection;
use wanwu_events::Prepared;
use wanwu_ids::{CallId, EpochId, Ids};
use wanwu_tariff::Unit;

use super::{calls::Ended, units, usage_events};
use crate::{
    domain::usage::{Outcome, Tokens},
    journal::{Dispatch, Final, Progress, batch::Batch},
};

/// What a batch did.
#[derive(Debug, Default)]
pub struct Written {
    /// Calls that were not dispatched, because their key was used.
    pub duplicates: HashSet<CallId>,
    /// Calls that have their final row from this batch, or had the same one before.
    pub finished: HashSet<CallId>,
}

/// Why a batch was not written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The epoch is fenced.
    #[error("the epoch is fenced")]
    Fenced,
    /// The database failed.
    #[error("the journal could not be written")]
    Database(#[from] sqlx::Error),
}

/// Everything in it sees the tables as they were before it, so that no row may be touched twice: a batch
/// never holds a call's dispatch together with its end ([`Batch::add`]).
///
/// The epoch's row is locked against its fencing (`for key share`, which lets the renewal pass): recovery
/// takes `for update` before it fences, so a batch commits before the fence or writes nothing.
const WRITE: &str = "
    with alive as (
        select from router_epochs where epoch_id = $1 and fenced_at is null for key share
    ), claimed as (
        insert into idempotency_keys as k (app_id, idempotency_key, call_id, used_at)
        select app_id, key, call_id, now()
        from alive, unnest($2::uuid[], $3::text[], $4::uuid[]) as c (app_id, key, call_id)
        order by app_id, key
        on conflict on constraint idempotency_keys_pkey do update
            set call_id = excluded.call_id, used_at = excluded.used_at
            where k.used_at < now() - interval '24 hours' or k.call_id = excluded.call_id
        returning call_id
    ), dispatched as (
        insert into calls (call_id, epoch_id, lease_id, account_id, app_id, key_id, model,
            price_version, input_price, output_price, input_bound, output_bound, traceparent,
            dispatched_at, price_tier, unit_prices)
        select call_id, $1, lease_id, account_id, app_id, key_id, model, price_version, input_price,
            output_price, input_bound, output_bound, traceparent, dispatched_at, price_tier, unit_prices
        from alive, unnest($5::uuid[], $6::uuid[], $7::uuid[], $8::uuid[], $9::uuid[], $10::text[],
            $11::int[], $12::bigint[], $13::bigint[], $14::bigint[], $15::bigint[], $16::text[],
            $17::timestamptz[], $18::int[], $19::jsonb[])
            as c (call_id, lease_id, account_id, app_id, key_id, model, price_version, input_price,
                output_price, input_bound, output_bound, traceparent, dispatched_at, price_tier,
                unit_prices)
        where call_id <> all ($4) or call_id in (select call_id from claimed)
        on conflict on constraint calls_pkey do nothing
    ), progressed as (
        update calls set progress_input = p.input, progress_output = p.output,
            progress_parts = p.parts
        from alive, unnest($20::uuid[], $21::bigint[], $22::bigint[], $23::jsonb[])
            as p (call_id, input, output, parts)
        where calls.call_id = p.call_id and outcome = 0
    ), closed as (
        update calls set outcome = f.outcome, attempts = f.attempts, input_tokens = f.input,
            output_tokens = f.output, amount_nanos = f.amount, usage_source = f.source,
            finished_at = f.finished_at, parts = f.parts
        from alive, unnest($24::uuid[], $25::smallint[], $26::smallint[], $27::bigint[],
            $28::bigint[], $29::bigint[], $30::text[], $31::timestamptz[], $32::jsonb[])
            as f (call_id, outcome, attempts, input, output, amount, source, finished_at, parts)
        where calls.call_id = f.call_id and calls.outcome = 0
        returning calls.call_id
    ), released as (
        delete from idempotency_keys using alive where call_id = any ($33)
    ), told as (
        insert into outbox (event_id, type, payload, traceparent, published_at)
        select event_id, type, payload, traceparent, case when routed then null else now() end
        from alive, unnest($34::uuid[], $35::text[], $36::bytea[], $37::text[], $38::bool[],
            $39::uuid[]) as e (event_id, type, payload, traceparent, routed, ends)
        where ends is null or ends in (select call_id from closed)
    )
    select exists (select from alive), array (select call_id from claimed),
        array (select call_id from closed)";

/// Writes a batch of the journal of `epoch`. After an error the connection is good for nothing. It may be
/// repeated after a commit whose answer was lost.
pub async fn write(
    connection: &mut PgConnection,
    epoch: EpochId,
    ids: &Ids,
    batch: &Batch,
) -> Result<Written, WriteError> {
    let events = usage_events::of_batch(ids, batch)?;
    if !batch.dispatches.is_empty() {
        wanwu_crash::point("dispatch.before_commit");
    }
    if !batch.finals.is_empty() {
        wanwu_crash::point("final.before_commit");
    }
    let (alive, claimed, closed) = execute(connection, epoch, batch, &events).await?;
    if !alive {
        return Err(WriteError::Fenced);
    }
    if !batch.dispatches.is_empty() {
        wanwu_crash::point("dispatch.committed");
    }
    if !batch.progress.is_empty() {
        wanwu_crash::point("progress.committed");
    }
    if !batch.finals.is_empty() {
        wanwu_crash::point("final.committed");
    }
    let claimed: HashSet<CallId> = claimed.into_iter().collect();
    let duplicates = keyed(batch).map(|(row, _)| row.call_id);
    Ok(Written {
        duplicates: duplicates.filter(|call| !claimed.contains(call)).collect(),
        finished: finished(connection, batch, closed).await?,
    })
}

/// Dispatch rows with their clients' keys.
fn keyed(batch: &Batch) -> impl Iterator<Item = (&Dispatch, &str)> + Clone {
    let rows = batch.dispatches.iter().map(|pending| &*pending.row);
    rows.filter_map(|row| Some((row, row.idempotency_key.as_deref()?)))
}

/// Calls that no engine answered and nobody pays: their keys are good again.
fn unused(batch: &Batch) -> impl Iterator<Item = CallId> {
    let unused = |row: &&Final| {
        matches!(row.outcome, Outcome::EngineFailed | Outcome::ClientGone)
            && row.tokens == Tokens::default()
    };
    let rows = batch.finals.iter().map(|(row, _)| &**row);
    rows.filter(unused).map(|row| row.call.call_id)
}

/// The calls of the batch's final rows that are closed now: those that were never dispatched are not
/// among them. A row that an earlier try closed counts: it was ours.
async fn finished(
    connection: &mut PgConnection,
    batch: &Batch,
    closed: Vec<CallId>,
) -> Result<HashSet<CallId>, sqlx::Error> {
    if closed.len() == batch.finals.len() {
        return Ok(closed.into_iter().collect());
    }
    let calls = batch.finals.iter().map(|(row, _)| row.call.call_id);
    let finished: Vec<CallId> =
        sqlx::query_scalar("select call_id from calls where call_id = any ($1) and outcome <> 0")
            .bind(calls.collect::<Vec<_>>())
            .fetch_all(connection)
            .await?;
    Ok(finished.into_iter().collect())
}

async fn execute(
    connection: &mut PgConnection,
    epoch: EpochId,
    batch: &Batch,
    events: &[(Prepared, Option<CallId>)],
) -> Result<(bool, Vec<CallId>, Vec<CallId>), sqlx::Error> {
    let calls: Vec<&Dispatch> = batch.dispatches.iter().map(|it| &*it.row).collect();
    let progress: Vec<&Progress> = batch.progress.values().collect();
    let ended: Vec<Ended> = batch.finals.iter().map(|(row, _)| Ended::of(row)).collect();
    let price = |row: &Dispatch, unit| row.prices.units.own(unit).unwrap_or_default();
    sqlx::query_as(WRITE)
        .bind(epoch)
        .bind(keyed(batch).map(|(row, _)| row.app_id).collect::<Vec<_>>())
        .bind(keyed(batch).map(|(_, key)| key).collect::<Vec<_>>())
        .bind(keyed(batch).map(|(row, _)| row.call_id).collect::<Vec<_>>())
        .bind(column(&calls, |row| row.call_id))
        .bind(column(&calls, |row| row.lease_id))
        .bind(column(&calls, |row| row.account_id))
        .bind(column(&calls, |row| row.app_id))
        .bind(column(&calls, |row| row.key_id))
        .bind(column(&calls, |row| row.model.as_str()))
        .bind(column(&calls, |row| row.prices.version))
        .bind(column(&calls, |row| price(row, Unit::InputToken)))
        .bind(column(&calls, |row| price(row, Unit::OutputToken)))
        .bind(column(&calls, |row| number(row.bound.input)))
        .bind(column(&calls, |row| number(row.bound.output)))
        .bind(column(&calls, |row| row.traceparent.as_deref()))
        .bind(column(&calls, |row| row.dispatched_at))
        .bind(column(&calls, |row| row.prices.tier))
        .bind(column(&calls, |row| units::of_prices(&row.prices.units)))
        .bind(column(&progress, |row| row.call_id))
        .bind(column(&progress, |row| number(row.tokens.input)))
        .bind(column(&progress, |row| number(row.tokens.output)))
        .bind(column(&progress, |row| units::of_parts(&row.tokens.parts)))
        .bind(column(&ended, |row| row.call_id))
        .bind(column(&ended, |row| row.outcome.number()))
        .bind(column(&ended, |row| row.attempts))
        .bind(column(&ended, |row| number(row.tokens.input)))
        .bind(column(&ended, |row| number(row.tokens.output)))
        .bind(column(&ended, |row| row.amount_nanos))
        .bind(column(&ended, |row| row.source))
        .bind(column(&ended, |row| row.finished_at))
        .bind(column(&ended, |row| units::of_parts(&row.tokens.parts)))
        .bind(unused(batch).collect::<Vec<_>>())
        .bind(column(events, |(event, _)| event.event_id))
        .bind(column(events, |(event, _)| event.r#type.as_str()))
        .bind(column(events, |(event, _)| event.payload.as_slice()))
        .bind(column(events, |(event, _)| event.traceparent.as_deref()))
        .bind(column(events, |(event, _)| event.routed))
        .bind(column(events, |(_, ends)| *ends))
        .fetch_one(connection)
        .await
}

fn column<'r, R, T>(rows: &'r [R], of: impl Fn(&'r R) -> T) -> Vec<T> {
    rows.iter().map(of).collect()
}

fn number(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
