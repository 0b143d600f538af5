use wanwu_ids::AccountId;
use wanwu_proto::verification::v1::RealNameChanged;

use crate::{
    app::App,
    domain::verification::State,
    error::Error,
    store::{gates, verifications},
};

impl App {
    /// Looks at the people who were not adult when last looked at, once a day each; tells those
    /// whose age band changed. Answers how many it looked at.
    pub async fn band_again(&self) -> Result<usize, Error> {
        let mut connection = self.pool.acquire().await?;
        let accounts = gates::to_band(&mut connection, self.today(), 1000).await?;
        drop(connection);
        for account_id in &accounts {
            self.band_account(*account_id).await?;
        }
        Ok(accounts.len())
    }

    async fn band_account(&self, account_id: AccountId) -> Result<(), Error> {
        let mut connection = self.pool.acquire().await?;
        let check = verifications::verified(&mut connection, account_id).await?;
        drop(connection);
        let Some(check) = check else {
            return Ok(());
        };
        // Before the transaction: the key comes by a connection of its own, and who holds one while
        // waiting for another can wait for ever. A check that holds does not change its number.
        let (_, resident_id) = self.open(&check).await?;
        let (today, band) = (self.today(), self.band_today(&resident_id));

        let mut tx = self.pool.begin().await?;
        let held = verifications::lock(&mut tx, check.verification_id).await?;
        if held.is_none_or(|held| held.state != State::Verified) {
            return Ok(());
        }
        if gates::get(&mut tx, account_id).await?.age_band() == band {
            gates::banded(&mut tx, account_id, today).await?;
        } else {
            let gate = gates::save(&mut tx, account_id, true, band, today).await?;
            let event = RealNameChanged {
                account_id: gate.account_id,
                version: gate.version,
                verified: gate.verified,
                age_band: gate.age_band,
            };
            wanwu_events::publish(&mut tx, &self.ids, &event).await?;
        }
        tx.commit().await?;
        Ok(())
    }
}
