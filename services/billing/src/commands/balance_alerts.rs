use wanwu_ids::AccountId;
use wanwu_proto::billing::v1::BalanceLow;

use crate::{
    app::App, domain::money::NANOS_PER_FEN, error::Error, providers::alipay::yuan,
    store::balance_alerts,
};

/// Accounts that are told together.
const AT_ONCE: i64 = 100;

impl App {
    /// Sets below what an account is told; `None`: never.
    pub async fn set_balance_alert(
        &self,
        account_id: AccountId,
        below: Option<i64>,
    ) -> Result<(), Error> {
        let mut connection = self.pool.acquire().await?;
        match below {
            Some(below) => {
                balance_alerts::set(&mut connection, account_id, below, self.now()).await?;
            }
            None => balance_alerts::remove(&mut connection, account_id).await?,
        }
        Ok(())
    }

    /// Below what an account is told.
    pub async fn balance_alert(&self, account_id: AccountId) -> Result<Option<i64>, Error> {
        let mut connection = self.pool.acquire().await?;
        Ok(balance_alerts::find(&mut connection, account_id).await?)
    }

    /// Tells accounts that what they hold fell below what they said, once each time; answers how
    /// many.
    pub async fn tell_low_balances(&self) -> Result<usize, Error> {
        let mut told = 0;
        loop {
            let mut tx = self.pool.begin().await?;
            let crossed = balance_alerts::note_crossings(&mut tx, AT_ONCE).await?;
            for (account_id, below, _) in crossed.iter().filter(|(_, _, is_below)| *is_below) {
                let event = BalanceLow {
                    account_id: account_id.to_string(),
                    below_nanos: *below,
                };
                wanwu_events::publish(&mut tx, &self.ids, &event).await?;
                let amount = [("amount", yuan(below / NANOS_PER_FEN))];
                self.notify(&mut tx, *account_id, "balance_low", amount)
                    .await?;
                told += 1;
            }
            tx.commit().await?;
            if crossed.is_empty() {
                return Ok(told);
            }
        }
    }
}
