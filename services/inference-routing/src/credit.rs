//! Credit: leases from billing, spent in memory. No lock is held while anybody is waited for;
//! for one account at a time, one question goes to billing.

pub mod lender;
pub mod recalls;
pub mod returns;

use std::{collections::HashMap, sync::Arc};

use arc_swap::ArcSwapOption;
use parking_lot::Mutex;
use tokio::{
    sync::{Mutex as AsyncMutex, Notify},
    time::{Instant, sleep},
};
use wanwu_ids::{AccountId, EpochId, Ids, LeaseId};

use crate::{
    config::LeaseConfig,
    domain::lease_purse::{Ask, Held, LeasePurse, PriceTable, Shortage, Terms},
};
use lender::{LendError, Lender};

/// The credit that this replica may spend.
pub struct Credit {
    accounts: Mutex<HashMap<AccountId, Account>>,
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
    /// Who holds it asks billing; the others wait.
    asking: Arc<AsyncMutex<Asking>>,
    /// When a lease of the account last went back, whose rest may not be free yet.
    returned: Option<Instant>,
}

#[derive(Default)]
struct Asking {
    /// A lease whose request was not answered: asked for again under the same id.
    unanswered: Option<LeaseId>,
    /// When billing last refused, and what.
    refused: Option<(Instant, i64)>,
    /// When billing last did not answer.
    failed: Option<Instant>,
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
        if let Ok(hold) = self.try_hold(account, ask) {
            return Ok(hold);
        }
        metrics::counter!("inference_routing_credit_shortages").increment(1);
        let since = Instant::now();
        let asking = self
            .accounts
            .lock()
            .entry(account)
            .or_default()
            .asking
            .clone();
        let mut asking = asking.lock().await;
        loop {
            let need = match self.try_hold(account, ask) {
                Ok(hold) => return Ok(hold),
                Err(Shortage::Credit(nanos)) => nanos,
                Err(Shortage::Unpriced) => self.estimate(ask, ask.output),
            };
            // Who waited while billing refused as little as this has its answer.
            if asking
                .refused
                .is_some_and(|(at, least)| at >= since && need >= least)
            {
                return self
                    .settle_for_less(account, ask)
                    .ok_or(CreditError::Insufficient);
            }
            if asking.failed.is_some_and(|at| at >= since) {
                return Err(CreditError::Unavailable(LendError::Silent));
            }
            match self.acquire(account, ask, need, &mut asking).await {
                Ok(granted) => match self.try_hold(account, ask) {
                    Ok(hold) => return Ok(hold),
                    Err(Shortage::Unpriced) => return Err(CreditError::Unpriced),
                    // The price was not known or has changed: ask again with the right one.
                    Err(Shortage::Credit(_))
                        if granted >= need && since.elapsed() < self.config.shortage_wait => {}
                    Err(Shortage::Credit(_)) => {
                        return self
                            .settle_for_less(account, ask)
                            .ok_or(CreditError::Insufficient);
                    }
                },
                Err(LendError::Insufficient) => {
                    if let Some(hold) = self.settle_for_less(account, ask) {
                        return Ok(hold);
                    }
                    if !self.may_come_free(account) || since.elapsed() >= self.config.shortage_wait
                    {
                        asking.refused = Some((Instant::now(), need));
                        return Err(CreditError::Insufficient);
                    }
                    sleep(self.config.shortage_poll).await;
                }
                Err(error) => {
                    asking.failed = Some(Instant::now());
                    return Err(CreditError::Unavailable(error));
                }
            }
        }
    }

    /// Gets a lease of at least `need`; where the client set no limit, at least of what makes
    /// the answer useful. Answers what was granted.
    async fn acquire(
        &self,
        account: AccountId,
        ask: &Ask,
        need: i64,
        asking: &mut Asking,
    ) -> Result<i64, LendError> {
        // Small rests that nobody uses go back first: together they may be enough.
        let idle = self.take_returnable(account, true);
        if self.take_unheld(account) || idle {
            self.return_leases().await;
        }
        let want = need
            .saturating_mul(self.config.want_factor)
            .max(self.config.want_nanos);
        let mut least = need;
        loop {
            let lease = *asking.unanswered.get_or_insert_with(|| self.ids.id());
            let granted = self
                .lender
                .acquire(account, self.epoch, lease, least, want)
                .await;
            match granted {
                Ok((amount, prices)) => {
                    asking.unanswered = None;
                    asking.refused = None;
                    self.prices.store(Some(prices.clone()));
                    let mut accounts = self.accounts.lock();
                    let purse = &mut accounts.entry(account).or_default().purse;
                    purse.put(lease, amount, prices, now());
                    return Ok(amount);
                }
                Err(LendError::Insufficient) => {
                    asking.unanswered = None;
                    let less = self.estimate(ask, ask.least_output);
                    if less >= least {
                        return Err(LendError::Insufficient);
                    }
                    least = less;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// What the call costs by the latest prices that are known; the least where none are.
    fn estimate(&self, ask: &Ask, output: u64) -> i64 {
        let prices = self.prices.load();
        let known = prices
            .as_ref()
            .and_then(|table| table.models.get(&ask.model));
        known.map_or(1, |prices| ask.cost(*prices, output).max(1))
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

    /// A lease of the account went back just now: billing frees its rest when it has the usage
    /// of its calls.
    fn may_come_free(&self, account: AccountId) -> bool {
        let returning = self
            .returning
            .lock()
            .iter()
            .any(|lease| lease.account == account);
        let returned = self.accounts.lock().get(&account).and_then(|a| a.returned);
        let recently = |at: Instant| at.elapsed() < self.config.shortage_wait * 2;
        returning || returned.is_some_and(recently)
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
