//! The credit of one account that this replica may spend: leases from billing, and the holds of
//! running calls against them.
//!
//! **Invariant**: for every lease, what running calls may still cost and what ended calls did
//! cost never exceeds what billing granted.
//! **Invariant**: a lease pays only for calls in its scope (see [`super::lease_scope`]).

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use wanwu_ids::LeaseId;
use wanwu_tariff::Unit;

use super::{
    lease_scope::{Class, Scope, Scopes},
    usage::{Prices, Tokens},
};

/// Prices of every model at the time of a lease.
#[derive(Debug, Default)]
pub struct PriceTable {
    /// The list's version.
    pub version: i32,
    /// Prices by model.
    pub models: std::collections::HashMap<String, Prices>,
}

/// What a call may cost at most.
#[derive(Clone, Debug)]
pub struct Ask {
    /// The app, the key and the model.
    pub class: Class,
    /// The bound of its input tokens.
    pub input: u64,
    /// How many answers it makes.
    pub answers: u64,
    /// The bound of each answer's tokens.
    pub output: u64,
    /// With how few tokens an answer is still of use, where the client set no limit; else as
    /// many as `output`.
    pub least_output: u64,
}

/// Credit held for one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// The lease that pays.
    pub lease: LeaseId,
    /// The prices that apply.
    pub prices: Prices,
    /// The bound of its tokens: `output` over all answers.
    pub bound: Tokens,
    /// The limit of each answer's tokens.
    pub max_tokens: u64,
    /// What is held, in 10^-9 CNY.
    pub nanos: i64,
    /// It is the last lease, and less than half of it is left, or little of its time.
    pub runs_low: bool,
}

/// Why nothing is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shortage {
    /// No lease has this much left, in 10^-9 CNY.
    Credit(i64),
    /// No lease is there to tell the price.
    Unpriced,
    /// Which leases pay for such calls is not known: billing says it.
    Unscoped,
}

/// The leases of one account.
#[derive(Debug, Default)]
pub struct LeasePurse {
    leases: Vec<Lease>,
    scopes: Scopes,
}

#[derive(Debug)]
struct Lease {
    id: LeaseId,
    granted: i64,
    held: i64,
    spent: i64,
    calls: u32,
    prices: Arc<PriceTable>,
    scope: Scope,
    acquired: Instant,
    idle_since: Instant,
    recalled: bool,
}

/// When leases stop being spent and go back.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// After this age no new hold is taken.
    pub expiry: Duration,
    /// After this time without a call the lease goes back.
    pub idle: Duration,
}

impl Ask {
    /// What it costs at most, with answers of `output` tokens.
    #[must_use]
    pub fn cost(&self, prices: Prices, output: u64) -> i64 {
        prices.bound(self.tokens(output))
    }

    fn tokens(&self, output: u64) -> Tokens {
        Tokens::of(self.input, output.saturating_mul(self.answers))
    }
}

impl LeasePurse {
    /// Puts a new lease in.
    pub fn put(
        &mut self,
        id: LeaseId,
        granted: i64,
        prices: Arc<PriceTable>,
        scope: Scope,
        now: Instant,
    ) {
        let (acquired, idle_since) = (now, now);
        self.leases.push(Lease {
            id,
            granted,
            held: 0,
            spent: 0,
            calls: 0,
            prices,
            scope,
            acquired,
            idle_since,
            recalled: false,
        });
    }

    /// Which leases pay for which calls.
    pub fn scopes(&mut self) -> &mut Scopes {
        &mut self.scopes
    }

    /// Nothing is in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.leases.is_empty()
    }

    /// Holds the highest cost of a call against the first lease that covers it.
    pub fn hold(&mut self, ask: &Ask, terms: Terms, now: Instant) -> Result<Held, Shortage> {
        let scope = self.scopes.of(&ask.class).ok_or(Shortage::Unscoped)?;
        let mut shortage = Shortage::Unpriced;
        let pays = |lease: &&mut Lease| {
            lease.spendable(terms, now) && scope.takes(&lease.scope, &ask.class.model)
        };
        let mut leases = self.leases.iter_mut().filter(pays);
        while let Some(lease) = leases.next() {
            let Some(prices) = lease.prices.models.get(&ask.class.model).copied() else {
                continue;
            };
            let nanos = ask.cost(prices, ask.output);
            if nanos <= lease.left() {
                let mut held = lease.take(ask, prices, ask.output, now);
                held.runs_low = lease.runs_low(terms, now) && leases.next().is_none();
                return Ok(held);
            }
            shortage = Shortage::Credit(nanos);
        }
        Err(shortage)
    }

    /// Holds what the fullest lease covers, where shorter answers are of use too.
    pub fn hold_less(&mut self, ask: &Ask, terms: Terms, now: Instant) -> Option<Held> {
        let scope = self.scopes.of(&ask.class)?;
        let lease = self
            .leases
            .iter_mut()
            .filter(|lease| {
                lease.spendable(terms, now) && scope.takes(&lease.scope, &ask.class.model)
            })
            .max_by_key(|lease| lease.left())?;
        let prices = lease.prices.models.get(&ask.class.model).copied()?;
        let each = i128::from(prices.units.highest(Unit::OutputToken)) * i128::from(ask.answers);
        let left = i128::from(lease.left()) - i128::from(ask.cost(prices, 0));
        let covered = match u64::try_from(left) {
            Err(_) => return None,
            Ok(_) if each == 0 => ask.output,
            Ok(left) => u64::try_from(i128::from(left) / each).unwrap_or(u64::MAX),
        };
        let output = covered.min(ask.output);
        (output >= ask.least_output).then(|| lease.take(ask, prices, output, now))
    }

    /// Ends a hold: the call cost `amount`, which is at most what was held. Answers whether the
    /// lease is wanted back and may go now.
    pub fn settle(&mut self, lease: LeaseId, held: i64, amount: i64, now: Instant) -> bool {
        let Some(lease) = self.leases.iter_mut().find(|l| l.id == lease) else {
            return false;
        };
        lease.held -= held;
        lease.spent += amount.min(held);
        lease.calls -= 1;
        if lease.calls == 0 {
            lease.idle_since = now;
        }
        lease.calls == 0 && lease.recalled
    }

    /// Takes out of the leases that calls use what no call holds or spent; answers what each is
    /// still worth.
    pub fn take_unheld(&mut self) -> Vec<(LeaseId, i64)> {
        let used = self.leases.iter_mut().filter(|lease| lease.calls > 0);
        used.filter_map(|lease| {
            // A lease is worth something, even where its calls cost nothing.
            let worth = (lease.held + lease.spent).max(1);
            let any = worth < lease.granted;
            lease.granted = lease.granted.min(worth);
            any.then_some((lease.id, worth))
        })
        .collect()
    }

    /// Billing wants this account's idle credit back: leases go as soon as no call uses them.
    pub fn recall(&mut self) {
        self.leases
            .iter_mut()
            .for_each(|lease| lease.recalled = true);
    }

    /// Takes out the leases that nobody uses and that must go back: recalled, expired, idle, or
    /// `all` of them.
    pub fn take_returnable(&mut self, terms: Terms, now: Instant, all: bool) -> Vec<LeaseId> {
        let returnable = |lease: &mut Lease| {
            let idle = now.saturating_duration_since(lease.idle_since) >= terms.idle;
            lease.calls == 0 && (all || idle || lease.recalled || !lease.spendable(terms, now))
        };
        self.leases
            .extract_if(.., returnable)
            .map(|lease| lease.id)
            .collect()
    }
}

impl Lease {
    fn left(&self) -> i64 {
        self.granted - self.held - self.spent
    }

    fn spendable(&self, terms: Terms, now: Instant) -> bool {
        now.saturating_duration_since(self.acquired) < terms.expiry
    }

    fn runs_low(&self, terms: Terms, now: Instant) -> bool {
        let age = now.saturating_duration_since(self.acquired);
        // Not so early that the other would be idle before this one is over.
        self.left() < self.granted / 2 || age + terms.idle / 2 > terms.expiry
    }

    fn take(&mut self, ask: &Ask, prices: Prices, output: u64, now: Instant) -> Held {
        let nanos = ask.cost(prices, output);
        self.held += nanos;
        self.calls += 1;
        self.idle_since = now;
        let bound = ask.tokens(output);
        Held {
            lease: self.id,
            prices,
            bound,
            max_tokens: output,
            nanos,
            runs_low: false,
        }
    }
}

#[cfg(test)]
mod tests;
