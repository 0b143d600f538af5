//! Leases that calls wait for: one question to billing at a time for an account, whoever waits.

use std::sync::Arc;

use tokio::time::{Instant, sleep};
use wanwu_ids::{AccountId, LeaseId};

use super::{
    Credit, CreditError, Hold,
    lender::{LendError, Wanted},
    now,
};
use crate::domain::{
    lease_purse::{Ask, Shortage},
    lease_scope::Class,
};

#[derive(Default)]
pub(super) struct Asking {
    /// A lease whose request was not answered: asked for again under the same id, by the next who
    /// needs credit, or by itself ([`Credit::run_returns`]): billing may have lent it.
    pub unanswered: Option<Unanswered>,
    /// When billing last refused, and what.
    refused: Option<Refused>,
    /// When billing last did not answer.
    pub failed: Option<Instant>,
    /// When billing last did not lend ahead.
    pub not_ahead: Option<Instant>,
}

#[derive(Clone)]
pub(super) struct Unanswered {
    pub lease: LeaseId,
    pub class: Class,
    pub wanted: Wanted,
}

struct Refused {
    at: Instant,
    least: i64,
    class: Class,
    budget: Option<String>,
}

impl Refused {
    fn error(&self) -> CreditError {
        match &self.budget {
            Some(subject) => CreditError::Budget(subject.clone()),
            None => CreditError::Insufficient,
        }
    }
}

impl Credit {
    /// Holds the highest cost of a call that the leases here do not cover.
    pub(super) async fn wait_for_credit(
        self: &Arc<Self>,
        account: AccountId,
        ask: &Ask,
    ) -> Result<Hold, CreditError> {
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
                Err(Shortage::Unpriced | Shortage::Unscoped) => self.estimate(ask, ask.output),
            };
            // Who waited while billing refused as little as this has its answer.
            let refused = asking.refused.as_ref().filter(|refused| {
                refused.at >= since && need >= refused.least && refused.class == ask.class
            });
            if let Some(refused) = refused {
                let error = refused.error();
                return self.settle_for_less(account, ask).ok_or(error);
            }
            if asking.failed.is_some_and(|at| at >= since) {
                return Err(CreditError::Unavailable(LendError::Silent));
            }
            match self.acquire(account, ask, need, &mut asking).await {
                Ok(granted) => match self.try_hold(account, ask) {
                    Ok(hold) => return Ok(hold),
                    Err(Shortage::Unpriced) => return Err(CreditError::Unpriced),
                    // The price was not known or has changed: ask again with the right one.
                    // The same where a budget was set while billing answered.
                    Err(Shortage::Credit(_) | Shortage::Unscoped)
                        if granted >= need && since.elapsed() < self.config.shortage_wait => {}
                    Err(Shortage::Credit(_) | Shortage::Unscoped) => {
                        return self
                            .settle_for_less(account, ask)
                            .ok_or(CreditError::Insufficient);
                    }
                },
                Err(short @ (LendError::Insufficient | LendError::Budget(_))) => {
                    if let Some(hold) = self.settle_for_less(account, ask) {
                        return Ok(hold);
                    }
                    if !self.may_come_free(account) || since.elapsed() >= self.config.shortage_wait
                    {
                        let refused = Refused {
                            at: Instant::now(),
                            least: need,
                            class: ask.class.clone(),
                            budget: short.budget(),
                        };
                        let error = refused.error();
                        asking.refused = Some(refused);
                        return Err(error);
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
        // Small rests that nobody uses go back first: together they may be enough. Who only asks
        // which leases are for it is not short.
        let (forgotten, known) = {
            let mut accounts = self.accounts.lock();
            let entry = accounts.entry(account).or_default();
            let known = entry.purse.scopes().of(&ask.class).is_some();
            (entry.forgotten, known)
        };
        let idle = known && self.take_returnable(account, true);
        if (known && self.take_unheld(account)) || idle {
            self.return_leases().await;
        }
        let want = self.want(account, need);
        let mut least = need;
        loop {
            let wanted = Wanted {
                least,
                want,
                ahead: false,
            };
            match self
                .ask(account, &ask.class, wanted, forgotten, asking)
                .await
            {
                Err(short @ (LendError::Insufficient | LendError::Budget(_))) => {
                    let less = self.estimate(ask, ask.least_output);
                    if less >= least {
                        return Err(short);
                    }
                    least = less;
                }
                answer => return answer,
            }
        }
    }

    /// Asks billing for a lease and puts it into the purse. One that was not answered is asked for
    /// again under its id.
    pub(super) async fn ask(
        &self,
        account: AccountId,
        class: &Class,
        wanted: Wanted,
        forgotten: u64,
        asking: &mut Asking,
    ) -> Result<i64, LendError> {
        let before = asking.unanswered.as_ref();
        let lease = before.map_or_else(|| self.ids.id(), |before| before.lease);
        asking.unanswered = Some(Unanswered {
            lease,
            class: class.clone(),
            wanted,
        });
        let granted = self
            .lender
            .acquire(account, self.epoch, lease, class, wanted)
            .await;
        let lent = match granted {
            Ok(lent) => lent,
            Err(error) => {
                if matches!(error, LendError::Insufficient | LendError::Budget(_)) {
                    asking.unanswered = None;
                }
                return Err(error);
            }
        };
        asking.unanswered = None;
        asking.refused = None;
        self.prices.store(Some(lent.prices.clone()));
        let mut accounts = self.accounts.lock();
        let entry = accounts.entry(account).or_default();
        if entry.forgotten == forgotten {
            match lent.account_wide {
                true => entry.purse.scopes().all_wide(),
                false => {
                    let scope = lent.scope.clone();
                    entry.purse.scopes().learn(class.clone(), scope);
                }
            }
        }
        let (amount, scope) = (lent.amount, lent.scope);
        entry.purse.put(lease, amount, lent.prices, scope, now());
        entry.appetite.lent(now());
        Ok(amount)
    }

    /// What the call costs by the latest prices that are known; the least where none are.
    fn estimate(&self, ask: &Ask, output: u64) -> i64 {
        let prices = self.prices.load();
        let known = prices
            .as_ref()
            .and_then(|table| table.models.get(&ask.class.model));
        known.map_or(1, |prices| ask.cost(*prices, output).max(1))
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
}
