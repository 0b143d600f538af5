//! Limits of accounts, apps and keys, kept in memory and shared with the other replicas through
//! the database. Most calls ask nobody: allowances are taken in parts, before they run out.

mod background;
mod rules;

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use sqlx::PgPool;
use tokio::{
    sync::{Mutex as AsyncMutex, Notify},
    time::{Instant, timeout},
};
use wanwu_ids::{AccountId, AppId, EpochId, KeyId};

use crate::{
    domain::{
        allowance::{Allowances, Reached, Short, Used, Want},
        limits::{Bound, Holding, Limits, Priority, holding},
    },
    store::limit_allowances,
};
use rules::FollowedRules;

/// How long the database may take to give.
const ASK_LIMIT: Duration = Duration::from_secs(1);
/// How often a call asks again when others took what it had asked for.
const ROUNDS: usize = 8;
/// Locks for asking: accounts share them.
const ASKERS: usize = 64;

/// What calls may use of limits.
pub struct Limiter {
    pool: PgPool,
    epoch: EpochId,
    platform: Limits,
    rules: FollowedRules,
    allowances: Mutex<Allowances>,
    /// One call of an account asks at a time; the others find what it got.
    askers: [AsyncMutex<()>; ASKERS],
    /// What runs low.
    low: Mutex<Vec<Want>>,
    wake: Notify,
}

/// A call within its limits. When dropped, what it held is given back; [`Permit::used`] says what
/// it used of that.
#[must_use]
pub struct Permit {
    limiter: Arc<Limiter>,
    bounds: Vec<Bound>,
    tokens: u64,
    used: Used,
    /// The priority of the account's calls.
    pub account_priority: Priority,
    /// The priority of the key's.
    pub key_priority: Priority,
}

/// Why a call is not let through.
#[derive(Debug, thiserror::Error)]
pub enum LimitError {
    /// A limit is reached.
    #[error("a limit is reached")]
    Reached(Reached),
    /// What is left of a limit is not known.
    #[error("limits cannot be asked for")]
    Unknown(#[source] Option<sqlx::Error>),
}

impl Limiter {
    /// Limits of an epoch, with the platform's for accounts that have none of their own.
    #[must_use]
    pub fn new(pool: PgPool, epoch: EpochId, platform: Limits) -> Arc<Self> {
        Arc::new(Self {
            pool,
            epoch,
            platform,
            rules: FollowedRules::default(),
            allowances: Mutex::default(),
            askers: std::array::from_fn(|_| AsyncMutex::new(())),
            low: Mutex::default(),
            wake: Notify::new(),
        })
    }

    /// The rules were read once.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.rules.are_read()
    }

    /// The platform's limits.
    #[must_use]
    pub const fn platform(&self) -> Limits {
        self.platform
    }

    /// Lets a call with at most so many tokens through, or says which limit it would break.
    pub async fn admit(
        self: &Arc<Self>,
        caller: (AccountId, AppId, KeyId),
        tokens: u64,
    ) -> Result<Permit, LimitError> {
        let holding = self
            .rules
            .with(caller.0, |rules| holding(rules, self.platform, caller));
        if holding.bounds.is_empty() {
            return Ok(self.permit(holding, tokens));
        }
        match self.take(&holding.bounds, tokens) {
            Ok(()) => return Ok(self.permit(holding, tokens)),
            Err(Short::Reached(reached)) => return Err(refused(reached)),
            Err(Short::Ask(_)) => {}
        }
        let asker = usize::from(caller.0.uuid().as_bytes()[15]) % ASKERS;
        let _asking = self.askers[asker].lock().await;
        for _ in 0..ROUNDS {
            match self.take(&holding.bounds, tokens) {
                Ok(()) => return Ok(self.permit(holding, tokens)),
                Err(Short::Reached(reached)) => return Err(refused(reached)),
                Err(Short::Ask(wants)) => self.ask(&wants).await.map_err(LimitError::Unknown)?,
            }
        }
        Err(LimitError::Unknown(None))
    }

    fn permit(self: &Arc<Self>, holding: Holding, tokens: u64) -> Permit {
        Permit {
            limiter: self.clone(),
            bounds: holding.bounds,
            tokens,
            used: Used::default(),
            account_priority: holding.account,
            key_priority: holding.key,
        }
    }

    fn take(&self, bounds: &[Bound], tokens: u64) -> Result<(), Short> {
        let mut allowances = self.allowances.lock();
        let taken = allowances.take(bounds, tokens, now());
        if allowances.is_over() {
            self.wake.notify_one();
        }
        drop(allowances);
        let low = taken?;
        if !low.is_empty() {
            self.low.lock().extend(low);
            self.wake.notify_one();
        }
        Ok(())
    }

    /// Takes from what all replicas share; waits for the database.
    async fn ask(&self, wants: &[Want]) -> Result<(), Option<sqlx::Error>> {
        metrics::counter!("inference_routing_limit_asks").increment(1);
        let taking = limit_allowances::take(&self.pool, self.epoch, wants);
        let grants = timeout(ASK_LIMIT, taking)
            .await
            .map_err(|_| None)?
            .map_err(Some)?;
        let mut allowances = self.allowances.lock();
        for (want, grant) in wants.iter().zip(grants) {
            allowances.put(want, grant, now());
        }
        Ok(())
    }
}

fn refused(reached: Reached) -> LimitError {
    metrics::counter!("inference_routing_limit_refusals",
        "subject" => reached.bound.subject.level.as_str(), "limit" => reached.bound.quantity.as_str())
    .increment(1);
    LimitError::Reached(reached)
}

impl Permit {
    /// The call was begun and used so many tokens.
    pub const fn used(&mut self, tokens: u64) {
        self.used = Used {
            requests: 1,
            tokens,
        };
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if self.bounds.is_empty() {
            return;
        }
        let mut allowances = self.limiter.allowances.lock();
        allowances.end(&self.bounds, self.tokens, self.used, now());
        // What only rests is looked for in time anyway.
        if allowances.is_over() {
            self.limiter.wake.notify_one();
        }
    }
}

impl std::fmt::Debug for Permit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Permit").field(&self.bounds).finish()
    }
}

fn now() -> std::time::Instant {
    Instant::now().into_std()
}
