use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, timeout_at};
use wanwu_ids::{AccountId, EpochId, LeaseId};
use wanwu_proto::billing::v1::BalanceExhausted;

use crate::{
    app::App,
    domain::{
        lease::{Lease, LeaseError, State},
        ledger::{LedgerAccount, Movement},
        price::PriceList,
    },
    error::Error,
    store::{
        epochs,
        leases::{self, StoredLease},
        ledger::{self, Posting},
        prices, recalls,
    },
};

/// How long idle credit of other epochs is waited for.
const RECALL_WAIT: Duration = Duration::from_millis(200);
/// Between two looks, where the credit was freed by another replica of billing.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// A router replica asks for credit.
#[derive(Clone, Copy)]
pub struct AcquireLease {
    /// The lease's id, made by the replica.
    pub lease_id: LeaseId,
    /// Whose credit.
    pub account_id: AccountId,
    /// Which life of the replica.
    pub epoch_id: EpochId,
    /// The least that is of use, in 10^-9 CNY.
    pub min_nanos: i64,
    /// What it would like, in 10^-9 CNY.
    pub want_nanos: i64,
}

impl AcquireLease {
    /// As much as is wanted and there, at least what is of use; `None`: not so much is there.
    fn grant(&self, available: i64) -> Option<i64> {
        let want = self.want_nanos.max(self.min_nanos);
        (available >= self.min_nanos).then(|| want.min(available))
    }

    /// The answer to a request that made this lease. One that is closed was given up for the
    /// replica, which must not spend it.
    fn repeated(&self, made: StoredLease) -> Result<StoredLease, Error> {
        if made.account_id != self.account_id || made.epoch_id != self.epoch_id {
            return Err(Error::NotFound);
        }
        match made.lease.state {
            State::Open => Ok(made),
            State::Closed | State::Freed => Err(LeaseError::Mismatch.into()),
        }
    }
}

impl App {
    /// Lends credit. When it is short, idle credit is recalled from other epochs and waited for.
    pub async fn acquire_lease(&self, command: AcquireLease) -> Result<StoredLease, Error> {
        match self.try_lease(&command).await {
            Err(Error::InsufficientBalance) => {}
            other => return other,
        }
        if self.recall(command.account_id).await? {
            let deadline = Instant::now() + RECALL_WAIT;
            while self.is_freed(&command, deadline).await? {
                match self.try_lease(&command).await {
                    Err(Error::InsufficientBalance) => {}
                    other => return other,
                }
            }
        }
        self.tell_exhausted(command.account_id).await?;
        Err(Error::InsufficientBalance)
    }

    /// Waits until there is as much as is of use; `false`: not before the deadline.
    async fn is_freed(&self, command: &AcquireLease, deadline: Instant) -> Result<bool, Error> {
        while Instant::now() < deadline {
            // What was freed through another replica is found by looking.
            let until = deadline.min(Instant::now() + LOOK_AGAIN);
            let _ = timeout_at(until, self.freed.notified()).await;
            if self.balance(command.account_id).await?.0 >= command.min_nanos {
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn try_lease(&self, command: &AcquireLease) -> Result<StoredLease, Error> {
        let now = self.now();
        let mut tx = self.pool.begin().await?;
        if !epochs::hold(&mut tx, command.epoch_id).await? {
            return Err(Error::EpochFenced);
        }
        // The account's lock keeps the same request, made twice at once, apart.
        let account = LedgerAccount::Available(command.account_id);
        let available = ledger::lock_balance(&mut tx, account).await?;
        if let Some(made) = leases::find(&mut tx, command.lease_id).await? {
            return command.repeated(made);
        }
        let amount = command.grant(available).ok_or(Error::InsufficientBalance)?;
        let price_version = prices::in_force(&mut tx, now)
            .await?
            .ok_or(Error::NoPrices)?;
        let lease = StoredLease {
            lease_id: command.lease_id,
            account_id: command.account_id,
            epoch_id: command.epoch_id,
            price_version,
            lease: Lease::open(amount),
        };
        leases::insert(&mut tx, &lease, now).await?;
        let posting = Posting {
            movement: Movement::lease(command.account_id, amount),
            cause_id: command.lease_id.uuid(),
        };
        ledger::book(&mut tx, &self.ids, &[posting], now).await?;
        wanwu_crash::point("lease.before_commit");
        tx.commit().await?;
        wanwu_crash::point("lease.committed");
        Ok(lease)
    }

    /// The prices that the calls of a lease are billed at.
    pub async fn prices_of(&self, lease: &StoredLease) -> Result<Arc<PriceList>, Error> {
        let mut connection = self.pool.acquire().await?;
        self.price_list_version(&mut connection, lease.price_version)
            .await
    }

    /// Tells every replica, and through the table every other billing, that idle credit is wanted;
    /// `false`: nothing is lent that could come back.
    async fn recall(&self, account_id: AccountId) -> Result<bool, Error> {
        let mut connection = self.pool.acquire().await?;
        let (_, leased) = ledger::balances(&mut connection, account_id).await?;
        if leased == 0 {
            return Ok(false);
        }
        recalls::want(&mut connection, account_id).await?;
        // Nobody watching here is fine: routers watch other replicas too.
        let _ = self.recalls.send(account_id);
        Ok(true)
    }

    async fn tell_exhausted(&self, account_id: AccountId) -> Result<(), Error> {
        let mut tx = self.pool.begin().await?;
        if recalls::tell_exhausted(&mut tx, account_id, self.now()).await? {
            let event = BalanceExhausted {
                account_id: account_id.to_string(),
            };
            wanwu_events::publish(&mut tx, &self.ids, &event).await?;
        }
        tx.commit().await?;
        Ok(())
    }
}
