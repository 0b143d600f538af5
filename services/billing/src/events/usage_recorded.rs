use std::sync::Arc;

use sqlx::PgConnection;
use wanwu_events::{Handler, HandlerError};
use wanwu_ids::InvalidId;
use wanwu_proto::inference::v1::UsageRecorded;

use crate::{
    app::App,
    commands::{SettleUsage, UsageRefused},
    store::calls::Call,
};

/// Longest name of a model.
const MAX_MODEL: usize = 128;
/// Where counts can come from.
const SOURCES: [&str; 3] = ["engine", "progress", "estimate"];

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
    Ok(Call {
        call_id: event.call_id.parse().map_err(field)?,
        lease_id: event.lease_id.parse().map_err(field)?,
        account_id: event.account_id.parse().map_err(field)?,
        app_id: event.app_id.parse().map_err(field)?,
        key_id: event.key_id.parse().map_err(field)?,
        model: event.model,
        input_tokens: event.input_tokens,
        output_tokens: event.output_tokens,
        price_version: event.price_version,
        amount_nanos: event.amount_nanos,
        usage_source: event.usage_source,
        booked_at: now,
    })
}
