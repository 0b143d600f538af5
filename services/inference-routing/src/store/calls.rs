//! Table `calls` as the journal.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use sqlx::{AssertSqlSafe, PgConnection, PgExecutor};
use wanwu_ids::{AccountId, AppId, CallId, EpochId, Ids, KeyId, LeaseId};
use wanwu_tariff::Unit;

use super::{idempotency_keys, units, units::ByUnit, usage_events};
use crate::{
    domain::usage::{Outcome, Prices, Tokens},
    journal::{Dispatch, batch::Batch},
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

/// A call of a dead epoch that has no final row.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct OpenCall {
    /// The call.
    pub call_id: CallId,
    /// The lease that pays.
    pub lease_id: LeaseId,
    /// Who pays.
    pub account_id: AccountId,
    /// The app.
    pub app_id: AppId,
    /// The key.
    pub key_id: KeyId,
    /// The model.
    pub model: String,
    /// The version of the prices.
    pub price_version: i32,
    /// 10^-9 CNY a token of the prompt.
    pub input_price: i64,
    /// 10^-9 CNY a token of the answer.
    pub output_price: i64,
    /// The tier of the prices.
    pub price_tier: i32,
    /// Prices of other units.
    pub unit_prices: Option<ByUnit>,
    /// At most this many tokens of the prompt.
    pub input_bound: i64,
    /// At most this many tokens of the answer.
    pub output_bound: i64,
    /// The trace of the call.
    pub traceparent: Option<String>,
    /// What was sent, if there is any progress.
    pub progress_input: Option<i64>,
    /// What was sent, if there is any progress.
    pub progress_output: Option<i64>,
    /// Parts of what was sent.
    pub progress_parts: Option<ByUnit>,
}

/// Writes a batch of the journal of `epoch`, in a transaction that it begins and ends: the fewer
/// answers it waits for, the sooner calls go on. After an error the connection is good for nothing.
///
/// The epoch's row is locked against its fencing first (`for key share`, which lets the renewal
/// pass): recovery takes `for update` before it fences, so a batch commits before the fence or
/// not at all. Every statement may be repeated after a commit whose answer was lost.
pub async fn write(
    tx: &mut PgConnection,
    epoch: EpochId,
    ids: &Ids,
    batch: &Batch,
) -> Result<Written, WriteError> {
    let begin = format!(
        "begin; select 1 from router_epochs where epoch_id = '{epoch}' and fenced_at is null for key share"
    );
    // The id is a UUID of ours: nothing in it needs a quotation.
    let alive = sqlx::raw_sql(AssertSqlSafe(begin))
        .fetch_all(&mut *tx)
        .await?;
    if alive.is_empty() {
        return Err(WriteError::Fenced);
    }
    let mut written = Written::default();
    let rows: Vec<&Dispatch> = batch
        .dispatches
        .iter()
        .map(|pending| &*pending.row)
        .collect();
    if !rows.is_empty() {
        written.duplicates = idempotency_keys::claim(tx, &rows).await?;
        insert(tx, epoch, &rows, &written.duplicates).await?;
    }
    if !batch.progress.is_empty() {
        progress(tx, batch).await?;
    }
    if !batch.finals.is_empty() {
        written.finished = finish(tx, ids, batch).await?;
    }
    usage_events::publish_refusals(tx, ids, batch).await?;
    if !batch.dispatches.is_empty() {
        wanwu_crash::point("dispatch.before_commit");
    }
    if !batch.finals.is_empty() {
        wanwu_crash::point("final.before_commit");
    }
    sqlx::raw_sql("commit").execute(tx).await?;
    if !batch.dispatches.is_empty() {
        wanwu_crash::point("dispatch.committed");
    }
    if !batch.progress.is_empty() {
        wanwu_crash::point("progress.committed");
    }
    if !batch.finals.is_empty() {
        wanwu_crash::point("final.committed");
    }
    Ok(written)
}

async fn insert(
    tx: &mut PgConnection,
    epoch: EpochId,
    rows: &[&Dispatch],
    duplicates: &HashSet<CallId>,
) -> Result<(), sqlx::Error> {
    let rows: Vec<&&Dispatch> = rows
        .iter()
        .filter(|r| !duplicates.contains(&r.call_id))
        .collect();
    let number = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    let price = |row: &Dispatch, unit| row.prices.units.own(unit).unwrap_or_default();
    sqlx::query(
        "insert into calls (call_id, epoch_id, lease_id, account_id, app_id, key_id, model,
             price_version, input_price, output_price, input_bound, output_bound, traceparent,
             dispatched_at, price_tier, unit_prices)
         select call_id, $1, lease_id, account_id, app_id, key_id, model, price_version,
             input_price, output_price, input_bound, output_bound, traceparent, dispatched_at,
             price_tier, unit_prices
         from unnest($2::uuid[], $3::uuid[], $4::uuid[], $5::uuid[], $6::uuid[], $7::text[],
             $8::int[], $9::bigint[], $10::bigint[], $11::bigint[], $12::bigint[], $13::text[],
             $14::timestamptz[], $15::int[], $16::jsonb[])
             as c (call_id, lease_id, account_id, app_id, key_id, model, price_version,
                 input_price, output_price, input_bound, output_bound, traceparent, dispatched_at,
                 price_tier, unit_prices)
         on conflict on constraint calls_pkey do nothing",
    )
    .bind(epoch)
    .bind(rows.iter().map(|r| r.call_id).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.lease_id).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.account_id).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.app_id).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.key_id).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.model.as_str()).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.prices.version).collect::<Vec<_>>())
    .bind(
        rows.iter()
            .map(|r| price(r, Unit::InputToken))
            .collect::<Vec<_>>(),
    )
    .bind(
        rows.iter()
            .map(|r| price(r, Unit::OutputToken))
            .collect::<Vec<_>>(),
    )
    .bind(
        rows.iter()
            .map(|r| number(r.bound.input))
            .collect::<Vec<_>>(),
    )
    .bind(
        rows.iter()
            .map(|r| number(r.bound.output))
            .collect::<Vec<_>>(),
    )
    .bind(
        rows.iter()
            .map(|r| r.traceparent.as_deref())
            .collect::<Vec<_>>(),
    )
    .bind(rows.iter().map(|r| r.dispatched_at).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.prices.tier).collect::<Vec<_>>())
    .bind(
        rows.iter()
            .map(|r| units::of_prices(&r.prices.units))
            .collect::<Vec<_>>(),
    )
    .execute(tx)
    .await?;
    Ok(())
}

async fn progress(tx: &mut PgConnection, batch: &Batch) -> Result<(), sqlx::Error> {
    let rows = || batch.progress.values();
    let number = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    sqlx::query(
        "update calls set progress_input = p.input, progress_output = p.output,
             progress_parts = p.parts
         from unnest($1::uuid[], $2::bigint[], $3::bigint[], $4::jsonb[])
             as p (call_id, input, output, parts)
         where calls.call_id = p.call_id and outcome = 0",
    )
    .bind(rows().map(|r| r.call_id).collect::<Vec<_>>())
    .bind(rows().map(|r| number(r.tokens.input)).collect::<Vec<_>>())
    .bind(rows().map(|r| number(r.tokens.output)).collect::<Vec<_>>())
    .bind(
        rows()
            .map(|r| units::of_parts(&r.tokens.parts))
            .collect::<Vec<_>>(),
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// Closes calls and tells what they used. Answers the calls whose row is closed now: those that
/// were never dispatched are not among them.
async fn finish(
    tx: &mut PgConnection,
    ids: &Ids,
    batch: &Batch,
) -> Result<HashSet<CallId>, sqlx::Error> {
    let rows = || batch.finals.iter().map(|(row, _)| row);
    let ended: Vec<Ended> = rows().map(|row| Ended::of(row)).collect();
    let closed: HashSet<CallId> = close(tx, &ended).await?.into_iter().collect();
    let now_closed = || {
        rows()
            .map(|row| &**row)
            .filter(|r| closed.contains(&r.call.call_id))
    };
    usage_events::publish_finals(tx, ids, now_closed()).await?;
    usage_events::publish_stops(tx, ids, now_closed()).await?;
    let unused = rows().filter(|row| row.outcome == Outcome::EngineFailed);
    let unused = unused.filter(|row| row.tokens == Tokens::default());
    idempotency_keys::release(tx, unused.map(|row| row.call.call_id).collect()).await?;
    if closed.len() == batch.finals.len() {
        return Ok(closed);
    }
    // A row that an earlier try closed counts as closed: it was ours.
    let finished: Vec<CallId> =
        sqlx::query_scalar("select call_id from calls where call_id = any($1) and outcome <> 0")
            .bind(rows().map(|row| row.call.call_id).collect::<Vec<_>>())
            .fetch_all(tx)
            .await?;
    Ok(finished.into_iter().collect())
}

/// The end of one call, as its row keeps it.
#[derive(Clone, Debug)]
pub struct Ended {
    /// The call.
    pub call_id: CallId,
    /// How it ended.
    pub outcome: Outcome,
    /// How many engines were tried; none: not known any more.
    pub attempts: Option<i16>,
    /// What is billed.
    pub tokens: Tokens,
    /// What it costs.
    pub amount_nanos: i64,
    /// Where the counts come from.
    pub source: &'static str,
    /// When.
    pub finished_at: DateTime<Utc>,
}

impl Ended {
    fn of(row: &crate::journal::Final) -> Self {
        Self {
            call_id: row.call.call_id,
            outcome: row.outcome,
            attempts: Some(row.attempts),
            tokens: row.tokens,
            amount_nanos: row.call.prices.cost(row.tokens),
            source: row.source.as_str(),
            finished_at: row.finished_at,
        }
    }
}

/// Closes open calls; answers those that it closed.
pub async fn close(tx: &mut PgConnection, rows: &[Ended]) -> Result<Vec<CallId>, sqlx::Error> {
    let number = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    sqlx::query_scalar(
        "update calls set outcome = f.outcome, attempts = coalesce(f.attempts, calls.attempts),
             input_tokens = f.input, output_tokens = f.output, amount_nanos = f.amount,
             usage_source = f.source, finished_at = f.finished_at, parts = f.parts
         from unnest($1::uuid[], $2::smallint[], $3::smallint[], $4::bigint[], $5::bigint[],
             $6::bigint[], $7::text[], $8::timestamptz[], $9::jsonb[])
             as f (call_id, outcome, attempts, input, output, amount, source, finished_at, parts)
         where calls.call_id = f.call_id and calls.outcome = 0
         returning calls.call_id",
    )
    .bind(rows.iter().map(|r| r.call_id).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.outcome.number()).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.attempts).collect::<Vec<_>>())
    .bind(
        rows.iter()
            .map(|r| number(r.tokens.input))
            .collect::<Vec<_>>(),
    )
    .bind(
        rows.iter()
            .map(|r| number(r.tokens.output))
            .collect::<Vec<_>>(),
    )
    .bind(rows.iter().map(|r| r.amount_nanos).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.source).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.finished_at).collect::<Vec<_>>())
    .bind(
        rows.iter()
            .map(|r| units::of_parts(&r.tokens.parts))
            .collect::<Vec<_>>(),
    )
    .fetch_all(tx)
    .await
}

/// Locks some calls of an epoch that have no final row.
pub async fn lock_open(
    tx: &mut PgConnection,
    epoch: EpochId,
    limit: i64,
) -> Result<Vec<OpenCall>, sqlx::Error> {
    sqlx::query_as(
        "select call_id, lease_id, account_id, app_id, key_id, model, price_version, input_price,
             output_price, price_tier, unit_prices, input_bound, output_bound, traceparent,
             progress_input, progress_output, progress_parts
         from calls where epoch_id = $1 and outcome = 0 order by call_id limit $2 for update",
    )
    .bind(epoch)
    .bind(limit)
    .fetch_all(tx)
    .await
}

/// What a lease paid for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct LeaseTotal {
    /// Its calls.
    pub calls: i64,
    /// Those of them without a final row: the lease must not be closed while there are any.
    pub open: i64,
    /// The sum of their amounts, in 10^-9 CNY.
    pub sum_nanos: i64,
}

/// What a lease paid for, by the journal.
pub async fn lease_total(
    database: impl PgExecutor<'_>,
    lease: LeaseId,
) -> Result<LeaseTotal, sqlx::Error> {
    sqlx::query_as(
        "select count(*) as calls, count(*) filter (where outcome = 0) as open,
             coalesce(sum(amount_nanos), 0)::bigint as sum_nanos
         from calls where lease_id = $1",
    )
    .bind(lease)
    .fetch_one(database)
    .await
}

impl OpenCall {
    /// The prices that apply.
    #[must_use]
    pub fn prices(&self) -> Prices {
        let (input, output) = (self.input_price, self.output_price);
        Prices {
            version: self.price_version,
            tier: self.price_tier,
            units: units::prices(input, output, self.unit_prices.as_ref()),
        }
    }

    /// What a kill leaves to bill: the last progress, nothing without one.
    #[must_use]
    pub fn billable(&self) -> Tokens {
        let number = |n: i64| u64::try_from(n).unwrap_or_default();
        let bound = Tokens::of(number(self.input_bound), number(self.output_bound));
        match (self.progress_input, self.progress_output) {
            (Some(input), Some(output)) => {
                let sent = Tokens {
                    input: number(input),
                    output: number(output),
                    parts: units::parts(self.progress_parts.as_ref()),
                };
                self.prices().charged(sent, bound)
            }
            _ => Tokens::default(),
        }
    }
}
