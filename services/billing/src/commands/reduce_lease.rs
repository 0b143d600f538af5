use wanwu_ids::{EpochId, LeaseId};

use crate::{
    app::App,
    domain::ledger::Movement,
    error::Error,
    store::{
        leases,
        ledger::{self, Posting},
    },
};

/// A replica gives back what none of its calls holds, while they go on.
#[derive(Clone, Copy)]
pub struct ReduceLease {
    /// The lease.
    pub lease_id: LeaseId,
    /// The epoch that it belongs to.
    pub epoch_id: EpochId,
    /// What it is still worth, in 10^-9 CNY.
    pub amount_nanos: i64,
}

impl App {
    /// Makes a lease smaller; what is above goes back to the customer. Never larger: requests that
    /// overtake each other end at the least of them.
    pub async fn reduce_lease(&self, command: ReduceLease) -> Result<(), Error> {
        let now = self.now();
        let mut tx = self.pool.begin().await?;
        let mut stored = leases::lock(&mut tx, command.lease_id)
            .await?
            .filter(|stored| stored.epoch_id == command.epoch_id)
            .ok_or(Error::NotFound)?;
        let Some(rest) = stored.lease.reduce(command.amount_nanos)? else {
            return Ok(());
        };
        leases::reduce(&mut tx, &stored).await?;
        let posting = Posting {
            movement: Movement::lease_return(stored.account_id, rest),
            // A lease may be reduced several times: each is a cause of its own.
            cause_id: self.ids.id::<()>().uuid(),
        };
        ledger::book(&mut tx, &self.ids, &[posting], now).await?;
        wanwu_crash::point("lease_reduce.before_commit");
        tx.commit().await?;
        wanwu_crash::point("lease_reduce.committed");
        self.freed.notify_waiters();
        Ok(())
    }
}
