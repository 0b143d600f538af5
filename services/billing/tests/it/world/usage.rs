//! What calls used, as a router tells it and the consumer books it.

use std::sync::Arc;

use billing::events::SettleRecordedUsage;
use wanwu_events::{Handler, HandlerError};
use wanwu_proto::{billing::v1::Lease, inference::v1::UsageRecorded};

use super::{PRICES, World};

impl World {
    /// What the router tells of a call of the model `scripted`.
    pub fn usage(&self, lease: &Lease, input: i64, output: i64) -> UsageRecorded {
        let id = || self.ids.id::<()>().to_string();
        UsageRecorded {
            call_id: id(),
            lease_id: lease.lease_id.clone(),
            account_id: lease.account_id.clone(),
            app_id: id(),
            key_id: id(),
            model: "scripted".to_owned(),
            input_tokens: input,
            output_tokens: output,
            price_version: 1,
            amount_nanos: input * PRICES.0 + output * PRICES.1,
            usage_source: "engine".to_owned(),
            ..UsageRecorded::default()
        }
    }

    /// As the consumer does: the effect in a transaction, which commits when there is no error.
    pub async fn settle(&self, event: &UsageRecorded) -> Result<(), HandlerError> {
        let handler = SettleRecordedUsage(Arc::clone(self.app()));
        let mut tx = self.pool.begin().await?;
        handler.handle(&mut tx, event.clone()).await?;
        Ok(tx.commit().await?)
    }

    /// As [`World::settle`] for many in one transaction.
    pub async fn settle_all(&self, events: &[UsageRecorded]) -> Result<(), HandlerError> {
        let handler = SettleRecordedUsage(Arc::clone(self.app()));
        let mut tx = self.pool.begin().await?;
        handler.handle_all(&mut tx, events.to_vec()).await?;
        Ok(tx.commit().await?)
    }
}
