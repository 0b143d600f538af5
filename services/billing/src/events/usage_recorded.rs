use std::{collections::BTreeMap, sync::Arc};

use sqlx::{PgConnection, types::Json};
use wanwu_events::{Handler, HandlerError};
use wanwu_ids::InvalidId;
use wanwu_proto::{billing::v1::UnitCount, inference::v1::UsageRecorded};
use wanwu_tariff::Unit;

use crate::{
    app::App,
    commands::{SettleUsage, UsageRefused},
    domain::price::MAX_MODEL,
    store::calls::Call,
};

/// Where counts can come from.
const SOURCES: [&str; 4] = ["engine", "progress", "tokenizer", "estimate"];

/// Settles the calls that inference-routing records.
pub struct SettleRecordedUsage(pub Arc<App>);

impl Handler<UsageRecorded> for SettleRecordedUsage {
    const BATCH: usize = 64;

    async fn handle(
        &self,
        tx: &mut PgConnection,
        event: UsageRecorded,
    ) -> Result<(), HandlerError> {
        let settled = self.handle_all(tx, vec![event]).await;
        settled.inspect_err(count_refused)
    }

    async fn handle_all(
        &self,
        tx: &mut PgConnection,
        events: Vec<UsageRecorded>,
    ) -> Result<(), HandlerError> {
        let now = self.0.now();
        let calls = events.into_iter().map(|event| parse(event, now));
        let calls = calls.collect::<Result<_, _>>()?;
        self.0.settle_usage(tx, SettleUsage { calls }).await
    }
}

/// Counts what is refused where it is alone: each once.
fn count_refused(error: &HandlerError) {
    if let HandlerError::Reject(source) = error
        && let Some(refused) = source.downcast_ref::<UsageRefused>()
    {
        let reason = refused.kind();
        metrics::counter!("wanwu_usage_refused_total", "reason" => reason).increment(1);
    }
}

fn parse(event: UsageRecorded, now: chrono::DateTime<chrono::Utc>) -> Result<Call, UsageRefused> {
    let fits = event.model.len() <= MAX_MODEL
        && SOURCES.contains(&event.usage_source.as_str())
        && event.input_tokens >= 0
        && event.output_tokens >= 0
        && event.amount_nanos >= 0;
    if !fits {
        return Err(UsageRefused::Field);
    }
    let field = |_: InvalidId| UsageRefused::Field;
    let parts = parts(&event.parts).ok_or(UsageRefused::Field)?;
    let call = Call {
        call_id: event.call_id.parse().map_err(field)?,
        lease_id: event.lease_id.parse().map_err(field)?,
        account_id: event.account_id.parse().map_err(field)?,
        app_id: event.app_id.parse().map_err(field)?,
        key_id: event.key_id.parse().map_err(field)?,
        model: event.model,
        input_tokens: event.input_tokens,
        output_tokens: event.output_tokens,
        parts: Json(parts),
        price_version: event.price_version,
        price_tier: event.price_tier,
        amount_nanos: event.amount_nanos,
        usage_source: event.usage_source,
        booked_at: now,
    };
    // Parts that are more than their whole would be charged twice.
    call.counts().checked().map_err(|_| UsageRefused::Field)?;
    Ok(call)
}

/// Parts by unit; `None` where a unit is not known, comes twice or is a total, or a count is no count.
fn parts(told: &[UnitCount]) -> Option<BTreeMap<Unit, i64>> {
    let mut parts = BTreeMap::new();
    for part in told {
        let unit = Unit::from_number(part.unit).filter(|unit| {
            // Totals have fields of their own.
            !matches!(unit, Unit::InputToken | Unit::OutputToken)
        })?;
        if part.count < 1 || parts.insert(unit, part.count).is_some() {
            return None;
        }
    }
    Some(parts)
}
