//! Table `calls`: what recovery closes and leases are counted by. The writer's way is
//! [`super::journal`].

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgExecutor};
use wanwu_ids::{AccountId, AppId, CallId, EpochId, KeyId, LeaseId};

use super::{units, units::ByUnit};
use crate::{
    domain::usage::{Outcome, Prices, Tokens},
    journal::Final,
};

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
    /// As the final row says.
    #[must_use]
    pub fn of(row: &Final) -> Self {
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
