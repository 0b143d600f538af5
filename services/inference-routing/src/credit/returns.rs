//! Leases go back to billing with the count and the sum of their calls.

use std::{sync::Arc, time::Duration};

use sqlx::PgPool;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use wanwu_ids::AccountId;

use super::{Credit, Returning, now};
use crate::store::calls;

/// Before a lease that could not go back is tried again.
const RETRY: Duration = Duration::from_millis(500);
/// How often idle leases are looked for.
const EVERY: Duration = Duration::from_millis(250);

impl Credit {
    /// Returns leases as they become idle, expire or are recalled, until `stop`.
    pub async fn run_returns(self: &Arc<Self>, pool: &PgPool, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = sleep(EVERY) => {}
                () = self.wake.notified() => {}
                () = stop.cancelled() => return,
            }
            self.ask_again().await;
            self.take_all_returnable(false);
            self.reduce_leases().await;
            self.return_with(pool).await;
        }
    }

    /// Asks again for leases whose requests were not answered and that nobody needs any more: what
    /// billing lent without our knowledge would be nobody's until the end of this epoch. They go back as
    /// idle ones do.
    async fn ask_again(&self) {
        let accounts: Vec<_> = self
            .accounts
            .lock()
            .iter()
            .filter(|(_, entry)| {
                // Who is asking does it.
                let asking = entry.asking.try_lock();
                asking.is_ok_and(|asking| asking.unanswered.is_some())
            })
            .map(|(account, entry)| (*account, entry.asking.clone(), entry.forgotten))
            .collect();
        for (account, asking, forgotten) in accounts {
            let Ok(mut asking) = asking.try_lock() else {
                continue;
            };
            let Some(unanswered) = asking.unanswered.clone() else {
                continue;
            };
            if asking.failed.is_some_and(|at| at.elapsed() < RETRY) {
                continue;
            }
            let (class, wanted) = (&unanswered.class, unanswered.wanted);
            let answer = self
                .ask(account, class, wanted, forgotten, &mut asking)
                .await;
            if let Err(error) = answer
                && asking.unanswered.is_some()
            {
                asking.failed = Some(Instant::now());
                tracing::warn!(lease.id = %unanswered.lease, error = &error as &dyn std::error::Error,
                    "it is not known whether a lease was lent");
                return;
            }
        }
    }

    /// Returns every lease; for the end of the process, when no call runs any more.
    pub async fn return_all(&self, pool: &PgPool) {
        self.take_all_returnable(true);
        self.return_with(pool).await;
    }

    /// Billing wants this account's credit back.
    pub fn recall(&self, account: AccountId) {
        if let Some(entry) = self.accounts.lock().get_mut(&account) {
            entry.purse.recall();
        }
        self.take_returnable(account, false);
        self.take_unheld(account);
        self.wake.notify_one();
    }

    /// A budget or a package of an account changed: which lease pays for which call is asked anew.
    pub(super) fn forget(&self, account: AccountId) {
        let mut accounts = self.accounts.lock();
        let entry = accounts.entry(account).or_default();
        entry.forgotten += 1;
        entry.purse.scopes().forget();
    }

    /// Nothing is known any more of what leases pay for.
    pub(super) fn forget_all(&self) {
        for entry in self.accounts.lock().values_mut() {
            entry.forgotten += 1;
            entry.purse.scopes().forget();
        }
    }

    /// Takes out of use what no call holds of the account's leases; answers whether there was any.
    pub(super) fn take_unheld(&self, account: AccountId) -> bool {
        let mut accounts = self.accounts.lock();
        let Some(entry) = accounts.get_mut(&account) else {
            return false;
        };
        let reduced = entry.purse.take_unheld();
        let any = !reduced.is_empty();
        self.reducing.lock().extend(reduced);
        any
    }

    /// Tells billing what leases are still worth; what it does not take is told again. A lease that
    /// went back meanwhile is not: its close says the same and more.
    async fn reduce_leases(&self) {
        let leases: Vec<_> = self
            .reducing
            .lock()
            .iter()
            .map(|(id, worth)| (*id, *worth))
            .collect();
        for (lease, worth) in leases {
            match self.lender.reduce(self.epoch, lease, worth).await {
                Ok(()) => {
                    let mut reducing = self.reducing.lock();
                    if reducing.get(&lease) == Some(&worth) {
                        reducing.remove(&lease);
                    }
                }
                Err(error) => {
                    tracing::warn!(lease.id = %lease, error = &error as &dyn std::error::Error,
                        "a part of a lease could not go back yet");
                    return;
                }
            }
        }
    }

    /// Takes leases of one account out of use; answers whether there were any.
    pub(super) fn take_returnable(&self, account: AccountId, all: bool) -> bool {
        let mut accounts = self.accounts.lock();
        let Some(entry) = accounts.get_mut(&account) else {
            return false;
        };
        let leases = entry.purse.take_returnable(self.terms(), now(), all);
        let (any, due) = (!leases.is_empty(), Instant::now());
        self.returning
            .lock()
            .extend(leases.into_iter().map(|lease| Returning {
                account,
                lease,
                due,
            }));
        any
    }

    fn take_all_returnable(&self, all: bool) {
        let mut accounts = self.accounts.lock();
        let mut returning = self.returning.lock();
        let due = Instant::now();
        accounts.retain(|account, entry| {
            let leases = entry.purse.take_returnable(self.terms(), now(), all);
            returning.extend(leases.into_iter().map(|lease| Returning {
                account: *account,
                lease,
                due,
            }));
            let forgotten = entry
                .returned
                .is_none_or(|at| at.elapsed() > self.config.idle * 4);
            // Somebody may wait on it, or billing may have lent what we do not know of.
            let is_asked = Arc::strong_count(&entry.asking) > 1
                || entry
                    .asking
                    .try_lock()
                    .map_or(true, |it| it.unanswered.is_some());
            let unused = entry.purse.is_empty() && !is_asked;
            !(forgotten && unused)
        });
    }

    /// Lets the returning task do its work now, and waits for it a moment.
    pub(super) async fn return_leases(&self) {
        self.wake.notify_one();
        let patience = Instant::now() + self.config.shortage_poll;
        let goes_back = || !self.returning.lock().is_empty() || !self.reducing.lock().is_empty();
        while goes_back() && Instant::now() < patience {
            sleep(Duration::from_millis(5)).await;
        }
    }

    async fn return_with(&self, pool: &PgPool) {
        // A lease stays in the list until billing has taken it.
        let leases = self.returning.lock().clone();
        for returning in leases
            .into_iter()
            .filter(|lease| lease.due <= Instant::now())
        {
            match self.return_one(pool, returning).await {
                Ok(()) => self
                    .returning
                    .lock()
                    .retain(|other| other.lease != returning.lease),
                Err(error) => {
                    self.put_off(returning);
                    tracing::warn!(lease.id = %returning.lease, error = &*error, "a lease could not go back yet");
                }
            }
        }
    }

    fn put_off(&self, returning: Returning) {
        let mut leases = self.returning.lock();
        for lease in leases
            .iter_mut()
            .filter(|lease| lease.lease == returning.lease)
        {
            lease.due = Instant::now() + RETRY;
        }
    }

    async fn return_one(
        &self,
        pool: &PgPool,
        returning: Returning,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let total = calls::lease_total(pool, returning.lease).await?;
        let freed = self
            .lender
            .close(self.epoch, returning.lease, total)
            .await?;
        if let Some(entry) = self.accounts.lock().get_mut(&returning.account) {
            entry.returned = Some(Instant::now());
        }
        tracing::debug!(lease.id = %returning.lease, calls = total.calls, freed, "a lease went back");
        Ok(())
    }
}
