use wanwu_ids::{EpochId, LeaseId};

use crate::{
    app::App,
    domain::{
        lease::{State, Tally},
        ledger::Movement,
    },
    error::Error,
    store::{
        leases::{self, StoredLease},
        ledger::{self, Posting},
    },
};

/// A replica, or another for it, states what a lease paid for.
#[derive(Clone, Copy)]
pub struct CloseLease {
    /// The lease.
    pub lease_id: LeaseId,
    /// The epoch that it belongs to.
    pub epoch_id: EpochId,
    /// The calls and their sum.
    pub stated: Tally,
}

impl App {
    /// Closes a lease; `true`: all its calls are settled and the rest is free.
    pub async fn close_lease(&self, command: CloseLease) -> Result<bool, Error> {
        let now = self.now();
        let mut tx = self.pool.begin().await?;
        let mut stored = leases::lock(&mut tx, command.lease_id)
            .await?
            .filter(|stored| stored.epoch_id == command.epoch_id)
            .ok_or(Error::NotFound)?;
        let rest = stored.lease.close(command.stated)?;
        leases::save(&mut tx, &stored, now).await?;
        let returned = rest.map(|rest| give_back(&stored, rest));
        ledger::book(&mut tx, &self.ids, returned.as_slice(), now).await?;
        wanwu_crash::point("lease_close.before_commit");
        tx.commit().await?;
        wanwu_crash::point("lease_close.committed");
        let freed = stored.lease.state == State::Freed;
        if freed {
            self.freed.notify_waiters();
        }
        Ok(freed)
    }
}

/// What goes back to the customer when a lease is freed.
pub(super) fn give_back(stored: &StoredLease, rest: i64) -> Posting {
    Posting {
        movement: Movement::lease_return(stored.account_id, rest),
        cause_id: stored.lease_id.uuid(),
    }
}
