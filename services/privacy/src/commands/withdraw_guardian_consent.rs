use super::StartGuardianConsent;
use crate::{
    app::App,
    error::Error,
    store::{consents, gates::Change, guardians},
};

impl App {
    /// Ends a guardian's consent. Only the guardian who gave it can; for everybody else it is not
    /// there.
    pub async fn withdraw_guardian_consent(&self, pair: StartGuardianConsent) -> Result<(), Error> {
        let mut tx = self.pool.begin().await?;
        consents::lock(&mut tx, pair.ward_id).await?;
        if guardians::standing(&mut tx, pair.ward_id).await? != Some(pair.guardian_id) {
            return Err(Error::NotFound);
        }
        let entry_id = self.ids.id::<()>().uuid();
        let now = self.clock.now();
        guardians::record(
            &mut tx,
            entry_id,
            pair.ward_id,
            pair.guardian_id,
            false,
            now,
        )
        .await?;
        self.end_allowance(&mut tx, pair.ward_id).await?;
        let change = Change {
            guardian_consent: Some(false),
            ..Change::default()
        };
        self.change_gate(&mut tx, pair.ward_id, change).await?;
        tx.commit().await?;
        Ok(())
    }
}
