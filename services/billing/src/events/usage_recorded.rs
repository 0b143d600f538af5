use std::sync::Arc;

use sqlx::PgConnection;
use wanwu_events::{Handler, HandlerError};
use wanwu_ids::InvalidId;
use wanwu_proto::inference::v1::UsageRecorded;

use crate::{app::App, commands::SettleUsage, store::calls::Call};

/// Settles the calls that inference-routing records.
pub struct SettleRecordedUsage(pub Arc<App>);

impl Handler<UsageRecorded> for SettleRecordedUsage {
    async fn handle(
        &self,
        tx: &mut PgConnection,
        event: UsageRecorded,
    ) -> Result<(), HandlerError> {
        let now = self.0.clock.now();
        let call = parse(event, now).map_err(HandlerError::reject)?;
        self.0.settle_usage(tx, SettleUsage { call }).await
    }
}

fn parse(event: UsageRecorded, now: chrono::DateTime<chrono::Utc>) -> Result<Call, InvalidId> {
    Ok(Call {
        call_id: event.call_id.parse()?,
        lease_id: event.lease_id.parse()?,
        account_id: event.account_id.parse()?,
        app_id: event.app_id.parse()?,
        key_id: event.key_id.parse()?,
        model: event.model,
        input_tokens: event.input_tokens,
        output_tokens: event.output_tokens,
        price_version: event.price_version,
        amount_nanos: event.amount_nanos,
        usage_source: event.usage_source,
        booked_at: now,
    })
}
