use chrono::{DateTime, Utc};
use sqlx::PgConnection;
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
        ledger,
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
        let now = self.clock.now();
        let mut tx = self.pool.begin().await?;
        let mut stored = leases::lock(&mut tx, command.lease_id)
            .await?
            .filter(|stored| stored.epoch_id == command.epoch_id)
            .ok_or(Error::NotFound)?;
        let rest = stored.lease.close(command.stated)?;
        leases::save(&mut tx, &stored, now).await?;
        self.give_back(&mut tx, &stored, rest, now).await?;
        tx.commit().await?;
        let freed = stored.lease.state == State::Freed;
        if freed {
            self.freed.notify_waiters();
        }
        Ok(freed)
    }

    /// Books what goes back to the customer when a lease is freed.
    pub(super) async fn give_back(
        &self,
        tx: &mut PgConnection,
        stored: &StoredLease,
        rest: Option<i64>,
        now: DateTime<Utc>,
    ) -> sqlx::Result<()> {
        if let Some(rest) = rest.filter(|rest| *rest > 0) {
            let movement = Movement::lease_return(stored.account_id, rest);
            ledger::book(tx, self.ids.id(), movement, stored.lease_id.uuid(), now).await?;
        }
        Ok(())
    }
}
