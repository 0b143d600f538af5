use chrono::DateTime;
use sqlx::PgConnection;
use wanwu_events::{Handler, HandlerError};
use wanwu_ids::InvalidId;
use wanwu_proto::privacy::v1::AgreementPublished;

use crate::store::agreements::{self, PinnedAgreement};

/// Keeps the versions of the agreements, so that orders can name those of their time.
pub struct KeepAgreement;

impl Handler<AgreementPublished> for KeepAgreement {
    async fn handle(
        &self,
        tx: &mut PgConnection,
        event: AgreementPublished,
    ) -> Result<(), HandlerError> {
        let version_id = event.version_id.parse();
        let version_id = version_id.map_err(|error: InvalidId| HandlerError::reject(error))?;
        let at = event.effective_time.unwrap_or_default();
        let effective_at = DateTime::from_timestamp(at.seconds, at.nanos.unsigned_abs());
        let version = PinnedAgreement {
            version_id,
            agreement: event.agreement,
            number: event.number,
        };
        let effective_at =
            effective_at.ok_or_else(|| HandlerError::reject("effective_time is no instant"))?;
        agreements::keep(tx, &version, effective_at).await?;
        Ok(())
    }
}
