use super::StartGuardianConsent;
use crate::{
    app::App,
    error::Error,
    store::{consents, gates::Change, guardians},
};

/// A guardian proves to hold the phone that the code went to.
pub struct ConfirmGuardianConsent {
    /// Who consents for whom.
    pub pair: StartGuardianConsent,
    /// The 6 digits.
    pub code: String,
}

impl App {
    /// Records the guardian's consent (obligations T0.3, P8; PIPL 31).
    pub async fn confirm_guardian_consent(
        &self,
        command: ConfirmGuardianConsent,
    ) -> Result<(), Error> {
        let pair = command.pair;
        // Who was eligible when the code was sent may not be any more.
        self.check_guardian(pair).await?;
        self.identity
            .check_code(pair.guardian_id, pair.purpose(), command.code)
            .await?;

        let mut tx = self.pool.begin().await?;
        consents::lock(&mut tx, pair.ward_id).await?;
        let entry_id = self.ids.id::<()>().uuid();
        let now = self.clock.now();
        // What another guardian allowed is not this one's word.
        if guardians::standing(&mut tx, pair.ward_id).await? != Some(pair.guardian_id) {
            self.end_allowance(&mut tx, pair.ward_id).await?;
        }
        guardians::record(&mut tx, entry_id, pair.ward_id, pair.guardian_id, true, now).await?;
        let change = Change {
            guardian_consent: Some(true),
            ..Change::default()
        };
        self.change_gate(&mut tx, pair.ward_id, change).await?;
        tx.commit().await?;
        Ok(())
    }
}
