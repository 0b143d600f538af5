use sqlx::PgConnection;
use wanwu_events::{Handler, HandlerError};
use wanwu_ids::InvalidId;
use wanwu_proto::verification::v1::{RealNameChanged, RealNameGate};

use crate::store::standings;

/// Repairs a standing that the watch did not tell of; an older word changes nothing.
pub struct RepairRealName;

impl Handler<RealNameChanged> for RepairRealName {
    async fn handle(
        &self,
        tx: &mut PgConnection,
        event: RealNameChanged,
    ) -> Result<(), HandlerError> {
        let account_id = event
            .account_id
            .parse()
            .map_err(|error: InvalidId| HandlerError::reject(error))?;
        let gate = RealNameGate {
            account_id: event.account_id,
            version: event.version,
            verified: event.verified,
            age_band: event.age_band,
        };
        standings::merge_verification(tx, account_id, &gate).await?;
        Ok(())
    }
}
