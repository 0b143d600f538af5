//! The credit of one account that this replica may spend: leases from billing, and the holds of
//! running calls against them.
//!
//! **Invariant**: for every lease, what running calls may still cost and what ended calls did
//! cost never exceeds what billing granted.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use wanwu_ids::LeaseId;

use super::usage::{Prices, Tokens};

/// Prices of every model at the time of a lease.
#[derive(Debug, Default)]
pub struct PriceTable {
    /// The list's version.
    pub version: i32,
    /// Prices by model.
    pub models: HashMap<String, Prices>,
}

/// What a call may cost at most.
#[derive(Clone, Debug)]
pub struct Ask {
    /// The model.
    pub model: String,
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
}

/// Why nothing is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shortage {
    /// No lease has this much left, in 10^-9 CNY.
    Credit(i64),
    /// No lease is there to tell the price.
    Unpriced,
}

/// The leases of one account.
#[derive(Debug, Default)]
pub struct LeasePurse {
    leases: Vec<Lease>,
}

#[derive(Debug)]
struct Lease {
    id: LeaseId,
    granted: i64,
    held: i64,
    spent: i64,
    calls: u32,
    prices: Arc<PriceTable>,
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
        prices.cost(self.tokens(output))
    }

    fn tokens(&self, output: u64) -> Tokens {
        Tokens {
            input: self.input,
            output: output.saturating_mul(self.answers),
        }
    }
}

impl LeasePurse {
    /// Puts a new lease in.
    pub fn put(&mut self, id: LeaseId, granted: i64, prices: Arc<PriceTable>, now: Instant) {
        let (acquired, idle_since) = (now, now);
        self.leases.push(Lease {
            id,
            granted,
            held: 0,
            spent: 0,
            calls: 0,
            prices,
            acquired,
            idle_since,
            recalled: false,
        });
    }

    /// Nothing is in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.leases.is_empty()
    }

    /// Holds the highest cost of a call against the first lease that covers it.
    pub fn hold(&mut self, ask: &Ask, terms: Terms, now: Instant) -> Result<Held, Shortage> {
        let mut shortage = Shortage::Unpriced;
        for lease in self.leases.iter_mut().filter(|l| l.spendable(terms, now)) {
            let Some(prices) = lease.prices.models.get(&ask.model).copied() else {
                continue;
            };
            let nanos = ask.cost(prices, ask.output);
            if nanos <= lease.left() {
                return Ok(lease.take(ask, prices, ask.output, now));
            }
            shortage = Shortage::Credit(nanos);
        }
        Err(shortage)
    }

    /// Holds what the fullest lease covers, where shorter answers are of use too.
    pub fn hold_less(&mut self, ask: &Ask, terms: Terms, now: Instant) -> Option<Held> {
        let lease = self
            .leases
            .iter_mut()
            .filter(|lease| lease.spendable(terms, now))
            .max_by_key(|lease| lease.left())?;
        let prices = lease.prices.models.get(&ask.model).copied()?;
        let each = i128::from(prices.output) * i128::from(ask.answers);
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
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::{Rng as _, SeedableRng as _};
    use uuid::Uuid;

    use super::*;

    const TERMS: Terms = Terms {
        expiry: Duration::from_secs(30),
        idle: Duration::from_secs(5),
    };

    fn table() -> Arc<PriceTable> {
        let prices = Prices {
            version: 1,
            input: 2,
            output: 10,
        };
        Arc::new(PriceTable {
            version: 1,
            models: [("m".to_owned(), prices)].into(),
        })
    }

    fn ask(input: u64, output: u64, least_output: u64) -> Ask {
        Ask {
            model: "m".to_owned(),
            input,
            answers: 1,
            output,
            least_output,
        }
    }

    fn lease(n: u128) -> LeaseId {
        LeaseId::from_uuid(Uuid::from_u128(n))
    }

    #[test]
    fn holds_never_exceed_the_grant_whatever_the_calls_cost() {
        for seed in 0..300 {
            let mut chance = rand_chacha::ChaCha20Rng::seed_from_u64(seed);
            let mut purse = LeasePurse::default();
            let mut now = Instant::now();
            let mut granted = 0;
            let mut running: Vec<Held> = Vec::new();
            let mut spent = 0;
            for step in 0..200_u128 {
                now += Duration::from_millis(chance.random_range(0..2_000));
                match chance.random_range(0..6) {
                    0 => {
                        let amount = chance.random_range(0..5_000);
                        granted += amount;
                        purse.put(lease(step), amount, table(), now);
                    }
                    1 | 2 => {
                        let ask = ask(chance.random_range(0..300), chance.random_range(1..200), 1);
                        let held = purse.hold(&ask, TERMS, now).ok();
                        running.extend(held.or_else(|| purse.hold_less(&ask, TERMS, now)));
                    }
                    3 if !running.is_empty() => {
                        let held = running.swap_remove(chance.random_range(0..running.len()));
                        let amount = chance.random_range(0..=held.nanos);
                        spent += amount;
                        purse.settle(held.lease, held.nanos, amount, now);
                    }
                    4 => {
                        let all = |purse: &LeasePurse| -> i64 {
                            purse.leases.iter().map(|lease| lease.granted).sum()
                        };
                        let before = all(&purse);
                        purse.take_unheld();
                        granted -= before - all(&purse);
                    }
                    _ => drop(purse.take_returnable(TERMS, now, false)),
                }
                assert!(
                    purse.leases.iter().all(|l| l.left() >= 0 && l.held >= 0),
                    "seed {seed}"
                );
                assert!(spent + running.iter().map(|h| h.nanos).sum::<i64>() <= granted);
            }
        }
    }

    #[test]
    fn a_call_without_a_limit_gets_what_the_lease_covers() {
        let now = Instant::now();
        let mut purse = LeasePurse::default();
        purse.put(lease(1), 1_000, table(), now);
        let long = ask(100, 500, 16);
        assert_eq!(purse.hold(&long, TERMS, now), Err(Shortage::Credit(5_200)));
        let held = purse.hold_less(&long, TERMS, now).unwrap();
        assert_eq!((held.max_tokens, held.nanos), (80, 1_000));
        assert_eq!(purse.hold_less(&long, TERMS, now), None);
    }

    #[test]
    fn what_no_call_holds_of_a_used_lease_can_go_back() {
        let now = Instant::now();
        let mut purse = LeasePurse::default();
        purse.put(lease(1), 1_000, table(), now);
        purse.put(lease(2), 500, table(), now);
        let ended = purse.hold(&ask(5, 5, 1), TERMS, now).unwrap();
        let running = purse.hold(&ask(5, 5, 1), TERMS, now).unwrap();
        purse.settle(lease(1), ended.nanos, 20, now);
        // The idle one goes back whole, by another way.
        assert_eq!(purse.take_unheld(), [(lease(1), 20 + running.nanos)]);
        assert_eq!(purse.take_unheld(), []);
        assert_eq!(purse.take_returnable(TERMS, now, true), [lease(2)]);
        let shortage = purse.hold(&ask(1, 0, 0), TERMS, now);
        assert_eq!(shortage, Err(Shortage::Credit(2)));
        purse.settle(lease(1), running.nanos, running.nanos, now);
        assert_eq!(purse.take_returnable(TERMS, now, true), [lease(1)]);
    }

    #[test]
    fn a_recalled_lease_goes_back_when_its_calls_end_and_an_expired_one_is_not_spent() {
        let start = Instant::now();
        let mut purse = LeasePurse::default();
        purse.put(lease(1), 1_000, table(), start);
        let first = purse.hold(&ask(1, 1, 1), TERMS, start).unwrap();
        purse.recall();
        let second = purse.hold(&ask(1, 1, 1), TERMS, start).unwrap();
        assert!(!purse.settle(lease(1), first.nanos, 2, start));
        assert!(purse.take_returnable(TERMS, start, false).is_empty());
        assert!(purse.settle(lease(1), second.nanos, 2, start));
        assert_eq!(purse.take_returnable(TERMS, start, false), [lease(1)]);

        purse.put(lease(2), 1_000, table(), start);
        assert!(
            purse
                .hold(&ask(1, 1, 1), TERMS, start + TERMS.expiry)
                .is_err()
        );
        assert!(
            purse
                .take_returnable(TERMS, start + Duration::from_secs(4), false)
                .is_empty()
        );
        assert_eq!(
            purse.take_returnable(TERMS, start + TERMS.idle, false),
            [lease(2)]
        );
        assert!(purse.is_empty());
    }

    #[test]
    fn a_model_without_a_price_is_not_held() {
        let now = Instant::now();
        let mut purse = LeasePurse::default();
        purse.put(lease(1), 1_000, table(), now);
        let ask = Ask {
            model: "other".to_owned(),
            ..ask(1, 1, 1)
        };
        assert_eq!(purse.hold(&ask, TERMS, now), Err(Shortage::Unpriced));
        assert_eq!(purse.hold_less(&ask, TERMS, now), None);
    }
}
