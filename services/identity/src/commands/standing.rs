use wanwu_ids::AccountId;
use wanwu_proto::{
    identity::v1::Standing, privacy::v1::PrivacyGate, verification::v1::RealNameGate,
};

use crate::{app::App, error::Error, store::standings};

impl App {
    /// The standing of an account now: what privacy and verification say, and what is decided here.
    /// Without the word of one of them nobody can say.
    pub async fn standing(&self, account_id: AccountId) -> Result<Standing, Error> {
        let key = account_id.to_string();
        let (privacy, verification) =
            tokio::join!(self.privacy_gates.get(&key), self.real_name_gates.get(&key));
        let unknown = |_| Error::StandingUnknown;
        if let Some(gate) = privacy.map_err(unknown)? {
            self.merge_privacy(account_id, &gate).await?;
        }
        if let Some(gate) = verification.map_err(unknown)? {
            self.merge_verification(account_id, &gate).await?;
        }
        let mut connection = self.pool.acquire().await?;
        standings::find(&mut connection, account_id)
            .await?
            .ok_or(Error::NotFound)
    }

    /// Takes what privacy told; an older word changes nothing.
    pub async fn merge_privacy(
        &self,
        account_id: AccountId,
        gate: &PrivacyGate,
    ) -> Result<(), Error> {
        let mut connection = self.pool.acquire().await?;
        let changed = standings::merge_privacy(&mut connection, account_id, gate).await?;
        self.tell(changed);
        Ok(())
    }

    /// Takes what verification told; an older word changes nothing.
    pub async fn merge_verification(
        &self,
        account_id: AccountId,
        gate: &RealNameGate,
    ) -> Result<(), Error> {
        let mut connection = self.pool.acquire().await?;
        let changed = standings::merge_verification(&mut connection, account_id, gate).await?;
        self.tell(changed);
        Ok(())
    }

    /// Tells a standing that changed at once; the reading of the table would a little later.
    pub(super) fn tell(&self, changed: Option<Standing>) {
        if let Some(standing) = changed {
            self.standings_feed.publish(standing);
        }
    }
}
