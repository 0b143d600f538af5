use sqlx::PgConnection;
use wanwu_events::{Handler, HandlerError};
use wanwu_ids::InvalidId;
use wanwu_proto::privacy::v1::{ConsentChanged, PrivacyGate};

use crate::store::standings;

/// Repairs a standing that the watch did not tell of; an older word changes nothing.
pub struct RepairConsent;

impl Handler<ConsentChanged> for RepairConsent {
    async fn handle(
        &self,
        tx: &mut PgConnection,
        event: ConsentChanged,
    ) -> Result<(), HandlerError> {
        let account_id = event
            .account_id
            .parse()
            .map_err(|error: InvalidId| HandlerError::reject(error))?;
        let gate = PrivacyGate {
            account_id: event.account_id,
            version: event.version,
            agreements_current: event.agreements_current,
            core_consent: event.core_consent,
            guardian_consent: event.guardian_consent,
        };
        standings::merge_privacy(tx, account_id, &gate).await?;
        Ok(())
    }
}
