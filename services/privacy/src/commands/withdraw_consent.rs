use wanwu_ids::AccountId;

use crate::{
    app::App,
    domain::purpose,
    error::Error,
    store::{consents, gates::Change},
};

impl App {
    /// Withdraws every standing consent of an account to a purpose (obligation P7.5; PIPL 15).
    pub async fn withdraw_consent(
        &self,
        account_id: AccountId,
        purpose: &str,
    ) -> Result<(), Error> {
        let mut tx = self.pool.begin().await?;
        consents::lock(&mut tx, account_id).await?;
        let standing = consents::standing(&mut tx, account_id, purpose).await?;
        if standing.is_empty() {
            return Err(Error::NotFound);
        }
        let now = self.clock.now();
        for mut consent in standing {
            consent.withdrawn_at = Some(now);
            consents::record(&mut tx, self.ids.id::<()>().uuid(), &consent).await?;
        }
        if purpose == purpose::CORE_SERVICE {
            let change = Change {
                core_consent: Some(false),
                ..Change::default()
            };
            self.change_gate(&mut tx, account_id, change).await?;
        }
        tx.commit().await?;
        Ok(())
    }
}
