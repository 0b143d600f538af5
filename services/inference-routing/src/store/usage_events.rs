//! What the journal tells others, in the transactions of its rows.

use chrono::{DateTime, Utc};
use prost_types::Timestamp;
use sqlx::PgConnection;
use wanwu_events::{Prepared, Traced, prepare, publish_many};
use wanwu_ids::{AccountId, CallId, Ids};
use wanwu_proto::inference::v1::{ContentViolationFound, UsageRecorded};

use super::{calls::OpenCall, units};
use crate::{
    domain::usage::Source,
    journal::{Final, Refusal, batch::Batch},
};

/// What a batch tells: an event of a call's end only if the batch is what ends the call.
pub fn of_batch(ids: &Ids, batch: &Batch) -> Result<Vec<(Prepared, Option<CallId>)>, sqlx::Error> {
    let mut events = Vec::new();
    for (row, _) in &batch.finals {
        let call = Some(row.call.call_id);
        events.push((prepare(ids, recorded(row))?, call));
        if let Some(stopped) = stopped(row) {
            events.push((prepare(ids, stopped)?, call));
        }
    }
    for (refusal, _) in &batch.refusals {
        events.push((prepare(ids, refused(refusal))?, None));
    }
    Ok(events)
}

/// Tells what recovered calls used, one event each.
pub async fn publish_recovered(
    tx: &mut PgConnection,
    ids: &Ids,
    calls: &[OpenCall],
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    let events: Vec<Traced<UsageRecorded>> =
        calls.iter().map(|call| recovered(call, now)).collect();
    publish_many(tx, ids, events).await
}

fn refused(refusal: &Refusal) -> Traced<ContentViolationFound> {
    Traced {
        event: found(
            refusal.call_id,
            refusal.account_id,
            &refusal.class_code,
            "input",
        ),
        traceparent: refusal.traceparent.clone(),
    }
}

fn stopped(row: &Final) -> Option<Traced<ContentViolationFound>> {
    let class = row.violation.as_deref()?;
    Some(Traced {
        event: found(row.call.call_id, row.call.account_id, class, "output"),
        traceparent: row.call.traceparent.clone(),
    })
}

fn found(call: CallId, account: AccountId, class: &str, side: &str) -> ContentViolationFound {
    ContentViolationFound {
        call_id: call.to_string(),
        account_id: account.to_string(),
        class_code: class.to_owned(),
        side: side.to_owned(),
    }
}

fn recorded(row: &Final) -> Traced<UsageRecorded> {
    let call = &row.call;
    let event = UsageRecorded {
        call_id: call.call_id.to_string(),
        lease_id: call.lease_id.to_string(),
        account_id: call.account_id.to_string(),
        app_id: call.app_id.to_string(),
        key_id: call.key_id.to_string(),
        model: call.model.clone(),
        input_tokens: number(row.tokens.input),
        output_tokens: number(row.tokens.output),
        price_version: call.prices.version,
        amount_nanos: call.prices.cost(row.tokens),
        usage_source: row.source.as_str().to_owned(),
        finish_time: Some(timestamp(row.finished_at)),
        parts: units::told(&row.tokens.parts),
        price_tier: call.prices.tier,
    };
    Traced {
        event,
        traceparent: call.traceparent.clone(),
    }
}

fn recovered(call: &OpenCall, now: DateTime<Utc>) -> Traced<UsageRecorded> {
    let tokens = call.billable();
    let event = UsageRecorded {
        call_id: call.call_id.to_string(),
        lease_id: call.lease_id.to_string(),
        account_id: call.account_id.to_string(),
        app_id: call.app_id.to_string(),
        key_id: call.key_id.to_string(),
        model: call.model.clone(),
        input_tokens: number(tokens.input),
        output_tokens: number(tokens.output),
        price_version: call.price_version,
        amount_nanos: call.prices().cost(tokens),
        usage_source: Source::Progress.as_str().to_owned(),
        finish_time: Some(timestamp(now)),
        parts: units::told(&tokens.parts),
        price_tier: call.price_tier,
    };
    Traced {
        event,
        traceparent: call.traceparent.clone(),
    }
}

fn number(tokens: u64) -> i64 {
    i64::try_from(tokens).unwrap_or(i64::MAX)
}

/// As the contract has it.
#[must_use]
pub fn timestamp(at: DateTime<Utc>) -> Timestamp {
    Timestamp {
        seconds: at.timestamp(),
        nanos: at.timestamp_subsec_nanos().cast_signed(),
    }
}
