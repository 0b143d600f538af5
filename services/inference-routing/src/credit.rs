//! Credit: leases from billing, spent in memory. No lock is held while anybody is waited for;
//! for one account at a time, one question goes to billing.

mod ahead;
mod asking;
pub mod lender;
pub mod recalls;
pub mod returns;

use std::{collections::HashMap, sync::Arc};

use arc_swap::ArcSwapOption;
use parking_lot::Mutex;
use tokio::{
    sync::{Mutex as AsyncMutex, Notify},
    time::Instant,
};
use wanwu_ids::{AccountId, EpochId, Ids, LeaseId};

use crate::{
    config::LeaseConfig,
    domain::{
        appetite::Appetite,
        lease_purse::{Ask, Held, LeasePurse, PriceTable, Shortage, Terms},
        table::Table,
    },
};
use asking::Asking;
use lender::{LendError, Lender};

/// The credit that this replica may spend.
pub struct Credit {
    accounts: Mutex<Table<AccountId, Account>>,
    config: LeaseConfig,
    lender: Lender,
    epoch: EpochId,
    ids: Ids,
    /// The prices of the latest lease, to know what to ask for.
    prices: ArcSwapOption<PriceTable>,
    /// Leases on their way back to billing.
    returning: Mutex<Vec<Returning>>,
    /// What leases are still worth of which a part is on its way back.
    reducing: Mutex<HashMap<LeaseId, i64>>,
    wake: Notify,
}

#[derive(Default)]
struct Account {
    purse: LeasePurse,
    appetite: Appetite,
    /// Who holds it asks billing; the others wait.
    asking: Arc<AsyncMutex<Asking>>,
    /// When a lease of the account last went back, whose rest may not be free yet.
    returned: Option<Instant>,
    /// How often billing said to forget: an answer to a question from before teaches nothing.
    forgotten: u64,
}

#[derive(Clone, Copy, Debug)]
struct Returning {
    account: AccountId,
    lease: LeaseId,
    /// Not tried before.
    due: Instant,
}

/// Credit held for one call: given back when dropped, spent by [`Hold::settle`].
#[must_use]
pub struct Hold {
    credit: Arc<Credit>,
    account: AccountId,
    held: Held,
    settled: bool,
}

/// Why there is no credit.
#[derive(Debug, thiserror::Error)]
pub enum CreditError {
    /// The account does not have it.
    #[error("the balance does not cover the highest cost of the call")]
    Insufficient,
    /// The budget of the app or the key does not cover it.
    #[error("the budget of the {0} does not cover the highest cost of the call")]
    Budget(String),
    /// The model has no price.
    #[error("the model has no price")]
    Unpriced,
    /// Billing does not answer.
    #[error("billing does not lend")]
    Unavailable(#[source] LendError),
}

impl Credit {
    /// No credit yet.
    #[must_use]
    pub fn new(config: LeaseConfig, lender: Lender, epoch: EpochId, ids: Ids) -> Arc<Self> {
        Arc::new(Self {
            accounts: Mutex::default(),
            config,
            lender,
            epoch,
            ids,
            prices: ArcSwapOption::empty(),
            returning: Mutex::default(),
            reducing: Mutex::default(),
            wake: Notify::new(),
        })
    }

    /// Holds the highest cost of a call.
    pub async fn hold(
        self: &Arc<Self>,
        account: AccountId,
        ask: &Ask,
    ) -> Result<Hold, CreditError> {
        let hold = match self.try_hold(account, ask) {
            Ok(hold) => hold,
            Err(_) => self.wait_for_credit(account, ask).await?,
        };
        if hold.held.runs_low {
            self.fetch_ahead(account, ask, hold.held.nanos);
        }
        Ok(hold)
    }

    fn try_hold(self: &Arc<Self>, account: AccountId, ask: &Ask) -> Result<Hold, Shortage> {
        let mut accounts = self.accounts.lock();
        let Some(entry) = accounts.get_mut(&account) else {
            return Err(Shortage::Unpriced);
        };
        let held = entry.purse.hold(ask, self.terms(), now())?;
        Ok(Hold {
            credit: self.clone(),
            account,
            held,
            settled: false,
        })
    }

    fn settle_for_less(self: &Arc<Self>, account: AccountId, ask: &Ask) -> Option<Hold> {
        let mut accounts = self.accounts.lock();
        let held = accounts
            .get_mut(&account)?
            .purse
            .hold_less(ask, self.terms(), now())?;
        Some(Hold {
            credit: self.clone(),
            account,
            held,
            settled: false,
        })
    }

    const fn terms(&self) -> Terms {
        Terms {
            expiry: self.config.expiry,
            idle: self.config.idle,
        }
    }
}

impl Hold {
    /// What is held.
    #[must_use]
    pub const fn held(&self) -> &Held {
        &self.held
    }

    /// The call ended and cost `amount`, in 10^-9 CNY, and its final row is durable.
    pub fn settle(mut self, amount: i64) {
        self.end(amount);
    }

    /// What the call cost cannot be recorded: its lease stays open until the epoch ends.
    pub fn abandon(mut self) {
        self.settled = true;
    }

    fn end(&mut self, amount: i64) {
        self.settled = true;
        let mut accounts = self.credit.accounts.lock();
        let Some(entry) = accounts.get_mut(&self.account) else {
            return;
        };
        let held = self.held;
        if entry.purse.settle(held.lease, held.nanos, amount, now()) {
            self.credit.wake.notify_one();
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if !self.settled {
            self.end(0);
        }
    }
}

impl std::fmt::Debug for Hold {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Hold").field(&self.held).finish()
    }
}

fn now() -> std::time::Instant {
    Instant::now().into_std()
}
