use std::{sync::Arc, time::Duration};

use sqlx::PgConnection;
use tokio::time::{Instant, timeout_at};
use wanwu_ids::{AccountId, AppId, EpochId, KeyId, LeaseId};
use wanwu_proto::billing::v1::BalanceExhausted;

use crate::{
    app::{App, Recall},
    domain::{
        calendar,
        credit::overdue,
        funding::{Funding, Sources},
        lease::{Lease, LeaseError, State},
        ledger::Movement,
        package_booking,
        price::PriceList,
    },
    error::Error,
    store::{
        budgets, credit, epochs,
        leases::{self, Scope, StoredLease},
        ledger::{self, Posting},
        packages, prices, recalls, terminations,
    },
};

/// How long idle credit of other epochs is waited for.
const RECALL_WAIT: Duration = Duration::from_millis(200);
/// Between two looks, where the credit was freed by another replica of billing.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// At most so many packages pay for one lease.
const MAX_PACKAGES: i64 = 16;

/// The call that a lease is wanted for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanting {
    /// Its app.
    pub app_id: AppId,
    /// Its key.
    pub key_id: KeyId,
    /// Its model.
    pub model: String,
}

/// A router replica asks for credit.
#[derive(Clone)]
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
    /// For which call; `None`: the replica is of a version that does not say.
    pub call: Option<Wanting>,
    /// No call waits for it.
    pub ahead: bool,
}

/// A lease and what its account is bound by.
#[derive(Clone, Debug)]
pub struct Acquired {
    /// The lease.
    pub lease: StoredLease,
    /// The account has no budget and no package for some models only.
    pub account_wide: bool,
}

impl AcquireLease {
    /// As much as is wanted and there, at least what is of use; `None`: not so much is there. What no
    /// call waits for leaves others as much as it takes.
    fn grant(&self, available: i64) -> Option<i64> {
        let available = if self.ahead { available / 2 } else { available };
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
    /// Lends credit: within the budgets of the call's app and key, of packages that pay for its
    /// model first. When it is short and a call waits, idle credit is recalled from other epochs and
    /// waited for.
    pub async fn acquire_lease(&self, command: AcquireLease) -> Result<Acquired, Error> {
        if command.call.is_some() {
            self.give_free_quotas(command.account_id).await?;
        }
        let mut short = match self.try_lease(&command).await {
            Err(error) if error.is_shortage() && !command.ahead => error,
            other => return other,
        };
        if self.recall(command.account_id, &short).await? {
            let deadline = Instant::now() + RECALL_WAIT;
            while self.is_freed(&command, deadline).await? {
                match self.try_lease(&command).await {
                    Err(error) if error.is_shortage() => short = error,
                    other => return other,
                }
            }
        }
        if matches!(short, Error::InsufficientBalance) {
            self.tell_exhausted(command.account_id).await?;
        }
        Err(short)
    }

    /// Waits until there is as much as is of use; `false`: not before the deadline.
    async fn is_freed(&self, command: &AcquireLease, deadline: Instant) -> Result<bool, Error> {
        while Instant::now() < deadline {
            // What was freed through another replica is found by looking.
            let until = deadline.min(Instant::now() + LOOK_AGAIN);
            let _ = timeout_at(until, self.freed.notified()).await;
            let mut connection = self.pool.acquire().await?;
            if ledger::spendable(&mut connection, command.account_id).await? >= command.min_nanos {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// **Invariant**: budgets are locked before packages, packages before accounts of the ledger.
    async fn try_lease(&self, command: &AcquireLease) -> Result<Acquired, Error> {
        let now = self.now();
        let account_id = command.account_id;
        let mut tx = self.pool.begin().await?;
        if !epochs::hold(&mut tx, command.epoch_id).await? {
            return Err(Error::EpochFenced);
        }
        let (mut scope, within) = self.within_budgets(&mut tx, command).await?;
        let (sources, narrow) = self.sources(&mut tx, command).await?;
        if let Some(made) = leases::find(&mut tx, command.lease_id).await? {
            return self.acquired(&mut tx, command.repeated(made)?).await;
        }
        let within = within?;
        // Asked with the account's lock held: whoever ends the contract waits for what is lent here.
        if terminations::is_over(&mut tx, account_id).await? {
            return Err(Error::InsufficientBalance);
        }
        let there = sources.total().min(within);
        let amount = command.grant(there).ok_or(Error::InsufficientBalance)?;
        let price_version = prices::in_force(&mut tx, now)
            .await?
            .ok_or(Error::NoPrices)?;
        let funding = sources.fund(amount);
        let is_narrow = funding.packages.iter().any(|(id, _)| narrow.contains(id));
        scope.models = command
            .call
            .as_ref()
            .filter(|_| is_narrow)
            .map(|call| vec![call.model.clone()]);
        let list = self.price_list_version(&mut tx, price_version).await?;
        let price_tier = self.price_tier(&mut tx, &list, command.account_id).await?;
        let lease = StoredLease {
            lease_id: command.lease_id,
            account_id,
            epoch_id: command.epoch_id,
            price_version,
            price_tier,
            scope,
            package_nanos: funding.of_packages(),
            lease: Lease::open(amount),
        };
        leases::insert(&mut tx, &lease, now).await?;
        let postings = self.fund(&mut tx, &lease, &funding).await?;
        ledger::book(&mut tx, &self.ids, &postings, now).await?;
        let acquired = self.acquired(&mut tx, lease).await?;
        wanwu_crash::point("lease.before_commit");
        tx.commit().await?;
        wanwu_crash::point("lease.committed");
        Ok(acquired)
    }

    /// Which budgets bind the call, and how much they leave; refused where that is of no use.
    async fn within_budgets(
        &self,
        tx: &mut PgConnection,
        command: &AcquireLease,
    ) -> Result<(Scope, Result<i64, Error>), Error> {
        let mut scope = Scope::default();
        let mut within = i64::MAX;
        let Some(call) = &command.call else {
            return Ok((scope, Ok(within)));
        };
        let account_id = command.account_id;
        let budgets = budgets::lock(tx, account_id, call.app_id, call.key_id).await?;
        let today = calendar::day(self.now());
        let mut short = None;
        for budget in budgets {
            scope.app_id = scope.app_id.or(budget.subject.app_id());
            scope.key_id = scope.key_id.or(budget.subject.key_id());
            let used = budgets::used(tx, account_id, &budget, today).await?;
            within = within.min(budget.rest(used));
            if budget.rest(used) < command.min_nanos {
                short = Some(Error::BudgetExhausted {
                    subject: budget.subject,
                    leased: used.leased,
                });
            }
        }
        Ok((scope, short.map_or(Ok(within), Err)))
    }

    /// What can pay for the call, and which of the packages are for some models only. Beyond zero an
    /// enterprise goes only while nothing that it owes is overdue.
    async fn sources(
        &self,
        tx: &mut PgConnection,
        command: &AcquireLease,
    ) -> Result<(Sources, Vec<uuid::Uuid>), Error> {
        let account_id = command.account_id;
        let packages = match &command.call {
            Some(call) => {
                let now = self.now();
                packages::lock_usable(tx, account_id, &call.model, now, MAX_PACKAGES).await?
            }
            None => Vec::new(),
        };
        let narrow = packages.iter().filter(|(_, _, narrow)| *narrow);
        let narrow = narrow.map(|(id, _, _)| *id).collect();
        // The account's lock keeps the same request, made twice at once, apart.
        let (available, limit) = ledger::lock_credit(tx, account_id).await?;
        let mut sources = Sources {
            packages: packages.iter().map(|(id, left, _)| (*id, *left)).collect(),
            available,
        };
        let (now, beyond) = (self.now(), limit.at(self.now()));
        let is_short = sources.total() < command.want_nanos.max(command.min_nanos);
        if beyond > 0 && is_short {
            let dues = credit::dues(tx, account_id).await?;
            if overdue(&dues, now) == 0 {
                sources.available = available.saturating_add(beyond);
            }
        }
        Ok((sources, narrow))
    }

    async fn fund(
        &self,
        tx: &mut PgConnection,
        lease: &StoredLease,
        funding: &Funding,
    ) -> Result<Vec<Posting>, Error> {
        let account_id = lease.account_id;
        let new_id = || self.ids.id::<()>().uuid();
        let parts = packages::lend(tx, lease.lease_id, funding, new_id).await?;
        let mut postings = vec![Posting {
            movement: Movement::lease(account_id, funding.balance),
            cause_id: lease.lease_id.uuid(),
        }];
        postings.extend(parts.into_iter().map(|(cause_id, nanos)| Posting {
            movement: package_booking::lend(account_id, nanos),
            cause_id,
        }));
        Ok(postings)
    }

    async fn acquired(&self, tx: &mut PgConnection, lease: StoredLease) -> Result<Acquired, Error> {
        let account_id = lease.account_id;
        let bound = budgets::any(tx, account_id).await?
            || packages::any_narrow(tx, account_id, self.now()).await?;
        Ok(Acquired {
            lease,
            account_wide: !bound,
        })
    }

    /// The prices that the calls of a lease are billed at.
    pub async fn prices_of(&self, lease: &StoredLease) -> Result<Arc<PriceList>, Error> {
        let mut connection = self.pool.acquire().await?;
        self.price_list_version(&mut connection, lease.price_version)
            .await
    }

    /// Tells every replica, and through the table every other billing, that idle credit is wanted;
    /// `false`: nothing is lent that could come back.
    async fn recall(&self, account_id: AccountId, short: &Error) -> Result<bool, Error> {
        let mut connection = self.pool.acquire().await?;
        let leased = match short {
            Error::BudgetExhausted { leased, .. } => *leased,
            _ => ledger::balances(&mut connection, account_id).await?.1,
        };
        if leased == 0 {
            return Ok(false);
        }
        recalls::want(&mut connection, account_id).await?;
        // Nobody watching here is fine: routers watch other replicas too.
        let _ = self.recalls.send(Recall {
            account_id,
            forget: false,
        });
        Ok(true)
    }

    async fn tell_exhausted(&self, account_id: AccountId) -> Result<(), Error> {
        let mut tx = self.pool.begin().await?;
        if recalls::tell_exhausted(&mut tx, account_id, self.now()).await? {
            let event = BalanceExhausted {
                account_id: account_id.to_string(),
            };
            wanwu_events::publish(&mut tx, &self.ids, &event).await?;
            if recalls::notify_exhausted(&mut tx, account_id, self.now()).await? {
                self.notify(&mut tx, account_id, "balance_exhausted", [])
                    .await?;
            }
        }
        tx.commit().await?;
        Ok(())
    }
}
