use std::collections::BTreeSet;

use sqlx::PgConnection;
use wanwu_ids::{AccountId, VersionId};

use crate::{
    app::App,
    domain::{acceptance::exactly_current, purpose},
    error::Error,
    store::{agreements, consents, gates::Change},
};

impl App {
    /// Records that an account accepts exactly the current versions (obligations T0.2, T0.5).
    pub async fn accept_agreements(
        &self,
        account_id: AccountId,
        named: &[VersionId],
    ) -> Result<(), Error> {
        let mut tx = self.pool.begin().await?;
        self.record_acceptance(&mut tx, account_id, named).await?;
        self.change_gate(&mut tx, account_id, Change::default())
            .await?;
        tx.commit().await?;
        Ok(())
    }

    /// The same for an account that registers now, with the consent to the core processing that
    /// the registration form asks for. Repeating it changes nothing.
    pub async fn accept_at_registration(
        &self,
        account_id: AccountId,
        named: &[VersionId],
    ) -> Result<(), Error> {
        let mut tx = self.pool.begin().await?;
        consents::lock(&mut tx, account_id).await?;
        self.record_acceptance(&mut tx, account_id, named).await?;
        let core = purpose::CORE_SERVICE;
        if consents::standing(&mut tx, account_id, core)
            .await?
            .is_empty()
        {
            let given = self.consent(account_id, core)?;
            consents::record(&mut tx, self.ids.id::<()>().uuid(), &given).await?;
        }
        let change = Change {
            core_consent: Some(true),
            ..Change::default()
        };
        self.change_gate(&mut tx, account_id, change).await?;
        tx.commit().await?;
        Ok(())
    }

    async fn record_acceptance(
        &self,
        tx: &mut PgConnection,
        account_id: AccountId,
        named: &[VersionId],
    ) -> Result<(), Error> {
        let now = self.clock.now();
        let current: BTreeSet<_> = agreements::in_force(tx, now)
            .await?
            .into_iter()
            .map(|version| version.version_id)
            .collect();
        let accepted =
            exactly_current(named, current).map_err(|refused| Error::AgreementsNotAccepted {
                current: refused.current,
            })?;
        agreements::accept(tx, account_id, &accepted, now).await?;
        Ok(())
    }
}
