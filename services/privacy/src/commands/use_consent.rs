use uuid::Uuid;
use wanwu_ids::{AccountId, ConsentId};

use crate::{app::App, error::Error, store::consents};

/// A service is about to do the one act that a person consented to.
pub struct UseConsent {
    /// Who gave the consent.
    pub account_id: AccountId,
    /// The consent.
    pub consent_id: ConsentId,
    /// The purpose that it must have.
    pub purpose: String,
    /// The act.
    pub use_id: Uuid,
}

impl App {
    /// Lets the act happen once: a consent that is good for one act is used up by it.
    pub async fn use_consent(&self, command: UseConsent) -> Result<(), Error> {
        let mut tx = self.pool.begin().await?;
        consents::lock(&mut tx, command.account_id).await?;
        let consent = consents::find(&mut tx, command.account_id, command.consent_id)
            .await?
            .filter(|consent| consent.purpose == command.purpose)
            .filter(|consent| consent.withdrawn_at.is_none())
            .ok_or(Error::NotFound)?;
        if self.purposes.is_single_use(&consent.purpose) {
            let now = self.clock.now();
            let used = consents::use_up(&mut tx, consent.consent_id, command.use_id, now).await?;
            if used != command.use_id {
                return Err(Error::ConsentUsed);
            }
        }
        tx.commit().await?;
        Ok(())
    }
}
