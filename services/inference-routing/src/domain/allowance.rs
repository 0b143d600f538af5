//! What one replica may still let through of each limit: taken from what all replicas share, in
//! parts, so that most calls ask nobody.
//!
//! **Invariant**: what is taken from the shared account and not given back is what calls have
//! used, what running calls hold, what is `left`, and what is on its way `back`. Nothing is let through that was not taken.

use std::time::{Duration, Instant};

use super::{
    limits::{Bound, Quantity, Subject},
    table::Table,
};

/// A part of a limit that is taken at once beyond what a call needs: one of so many. A smaller
/// limit is taken call by call.
const PARTS: u64 = 32;
/// What nobody used for so long goes back, but for what one more call would need.
const IDLE: Duration = Duration::from_secs(1);
/// That goes back as well after so long.
const FORGOTTEN: Duration = Duration::from_secs(60);
/// An empty shared account is not asked again before so long at most.
const LONGEST_REST: Duration = Duration::from_millis(250);

/// The allowances of every subject that calls.
#[derive(Debug, Default)]
pub struct Allowances {
    of: Table<(Subject, Quantity), Allowance>,
    /// One of them has more than two parts left, or some of a limit that was wider.
    over: bool,
}

#[derive(Debug)]
struct Allowance {
    limit: u64,
    left: i64,
    /// Taken of a limit that was wider: no call may have it.
    back: i64,
    /// Running calls hold some of it.
    held: u64,
    used_at: Instant,
    /// What the last call needed.
    last: u64,
    /// The shared account had nothing then and will not have before.
    rest: Option<Rest>,
}

#[derive(Clone, Copy, Debug)]
struct Rest {
    until: Instant,
    /// What it had, and since when that is known.
    available: f64,
    since: Instant,
}

/// What is to be taken from the shared account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Want {
    /// Of which limit.
    pub bound: Bound,
    /// With less than this nothing is gained.
    pub least: u64,
    /// How much is welcome.
    pub most: u64,
}

/// What the shared account gave.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Grant {
    /// How much.
    pub granted: u64,
    /// What it has left.
    pub available: f64,
}

/// A limit that is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reached {
    /// Which.
    pub bound: Bound,
    /// When there may be enough again.
    pub retry_after: Duration,
}

/// Why a call is not let through now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Short {
    /// More has to be taken first.
    Ask(Vec<Want>),
    /// Asking now would not help.
    Reached(Reached),
}

/// What goes back to the shared account; below 0: what was used beyond what was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Surplus {
    /// Of which limit.
    pub bound: Bound,
    /// How much.
    pub amount: i64,
}

/// What a call needs of a limit; no call needs more than there can be.
#[must_use]
pub fn need(bound: &Bound, tokens: u64) -> u64 {
    match bound.quantity {
        Quantity::Requests | Quantity::Calls => 1,
        Quantity::Tokens => tokens.clamp(1, bound.limit),
    }
}

const fn part(limit: u64) -> u64 {
    limit / PARTS
}

impl Allowance {
    const fn new(limit: u64, now: Instant) -> Self {
        Self {
            limit,
            left: 0,
            back: 0,
            held: 0,
            used_at: now,
            last: 0,
            rest: None,
        }
    }

    /// The limit is this from now on; where it is less, what was taken of the wider one goes back.
    fn limit_to(&mut self, limit: u64) {
        if limit < self.limit && self.left > 0 {
            self.back = self.back.saturating_add(self.left);
            self.left = 0;
        }
        self.limit = limit;
    }

    fn covers(&self, need: u64) -> bool {
        self.left >= signed(need)
    }

    /// How long the shared account will not have so much, as far as is known; zero: it may have it.
    fn rest(&self, bound: &Bound, least: u64, now: Instant) -> Duration {
        let Some(rest) = self.rest.filter(|rest| now < rest.until) else {
            return Duration::ZERO;
        };
        let wait = refill(bound, least, rest.available);
        match bound.quantity {
            // They end when they end, however long ago it was asked.
            Quantity::Calls => wait,
            Quantity::Requests | Quantity::Tokens => {
                wait.saturating_sub(now.saturating_duration_since(rest.since))
            }
        }
    }
}

impl Allowances {
    /// Lets a call with so many tokens through every one of its limits, or none. Answers what is
    /// to be taken soon, so that the next call need not wait.
    pub fn take(
        &mut self,
        bounds: &[Bound],
        tokens: u64,
        now: Instant,
    ) -> Result<Vec<Want>, Short> {
        let mut wants = Vec::new();
        // Of several limits that are reached the one that it takes longest to be within again.
        let mut reached: Option<Reached> = None;
        for bound in bounds {
            let need = need(bound, tokens);
            let allowance = self.entry(bound, now);
            if allowance.covers(need) {
                continue;
            }
            let least = unsigned(signed(need) - allowance.left);
            let retry_after = allowance.rest(bound, least, now);
            if retry_after.is_zero() {
                wants.push(Want {
                    bound: *bound,
                    least,
                    most: least.saturating_add(part(bound.limit)),
                });
            } else if reached.is_none_or(|known| known.retry_after < retry_after) {
                reached = Some(Reached {
                    bound: *bound,
                    retry_after,
                });
            }
        }
        if let Some(reached) = reached {
            return Err(Short::Reached(reached));
        }
        if !wants.is_empty() {
            return Err(Short::Ask(wants));
        }
        for bound in bounds {
            let need = need(bound, tokens);
            let allowance = self.entry(bound, now);
            allowance.left -= signed(need);
            allowance.held += need;
            allowance.last = need;
            allowance.used_at = now;
            let part = part(bound.limit);
            if allowance.left < signed(part / 2) && allowance.rest.is_none_or(|r| r.until <= now) {
                wants.push(Want {
                    bound: *bound,
                    least: 1,
                    most: part,
                });
            }
        }
        Ok(wants)
    }

    /// Puts in what was taken from the shared account. What it could not give is not asked for
    /// again until some of it can have come back.
    pub fn put(&mut self, want: &Want, grant: Grant, now: Instant) {
        let allowance = self.entry(&want.bound, now);
        allowance.left = allowance.left.saturating_add(signed(grant.granted));
        allowance.rest = (grant.granted < want.least).then(|| {
            let retry_after = refill(&want.bound, want.least, grant.available);
            Rest {
                until: now + retry_after.min(LONGEST_REST),
                available: grant.available,
                since: now,
            }
        });
    }

    /// A call ended: of every limit it held `held` and did use `used`.
    pub fn end(&mut self, bounds: &[Bound], tokens: u64, used: Used, now: Instant) {
        for bound in bounds {
            let held = need(bound, tokens);
            let Some(allowance) = self.of.get_mut(&(bound.subject, bound.quantity)) else {
                continue;
            };
            let back = signed(held) - signed(used.of(bound.quantity));
            allowance.held = allowance.held.saturating_sub(held);
            if back > 0 && bound.limit > allowance.limit {
                allowance.back = allowance.back.saturating_add(back);
                allowance.used_at = now;
                self.over = true;
                continue;
            }
            allowance.left = allowance.left.saturating_add(back);
            if back > 0 && allowance.covers(1) {
                allowance.rest = None;
            }
            allowance.used_at = now;
            self.over |= allowance.left > signed(part(allowance.limit)) * 2;
        }
    }

    /// Something goes back at once; what rested can wait to be looked for.
    #[must_use]
    pub const fn is_over(&self) -> bool {
        self.over
    }

    /// Takes out what is not needed here: more than two parts at any time; what nobody used for a
    /// second, debts included, but for what a call like the last would need, of a part at most; that
    /// after a minute. With `all`, everything.
    pub fn surplus(&mut self, all: bool, now: Instant) -> Vec<Surplus> {
        let mut surplus = Vec::new();
        self.over = false;
        self.of.retain(|(subject, quantity), allowance| {
            let rested = now.saturating_duration_since(allowance.used_at);
            let part = signed(part(allowance.limit));
            let wanted = match rested {
                _ if all || rested >= FORGOTTEN => 0,
                _ if rested >= IDLE => part.min(signed(allowance.last)),
                _ if allowance.left > part * 2 => part,
                _ if allowance.back > 0 => allowance.left,
                _ => return true,
            };
            let kept = wanted.min(allowance.left.max(0));
            let amount = allowance.left - kept + std::mem::take(&mut allowance.back);
            allowance.left = kept;
            if amount != 0 {
                surplus.push(Surplus {
                    bound: Bound {
                        subject: *subject,
                        quantity: *quantity,
                        limit: allowance.limit,
                    },
                    amount,
                });
            }
            // What runs gives back here.
            allowance.held > 0 || allowance.left > 0 || rested < IDLE
        });
        surplus.sort_unstable_by_key(|surplus| surplus.bound);
        surplus
    }

    /// Takes back what could not be given.
    pub fn restore(&mut self, surplus: &[Surplus], now: Instant) {
        for Surplus { bound, amount } in surplus {
            let allowance = self.entry(bound, now);
            allowance.left = allowance.left.saturating_add(*amount);
        }
    }

    /// How many limits are kept in mind.
    #[must_use]
    pub fn len(&self) -> usize {
        self.of.len()
    }

    /// None is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.of.is_empty()
    }

    fn entry(&mut self, bound: &Bound, now: Instant) -> &mut Allowance {
        let allowance = self
            .of
            .entry((bound.subject, bound.quantity))
            .or_insert_with(|| Allowance::new(bound.limit, now));
        allowance.limit_to(bound.limit);
        self.over |= allowance.back > 0;
        allowance
    }
}

/// What a call used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Used {
    /// 1, or 0 where it was not begun.
    pub requests: u64,
    /// Tokens of the prompt and the answer.
    pub tokens: u64,
}

impl Used {
    const fn of(self, quantity: Quantity) -> u64 {
        match quantity {
            Quantity::Requests => self.requests,
            Quantity::Tokens => self.tokens,
            Quantity::Calls => 0,
        }
    }
}

/// When a bucket that has so much will have what is wanted; calls at a time end when they end.
fn refill(bound: &Bound, least: u64, available: f64) -> Duration {
    let limit = bound.limit as f64;
    match bound.quantity {
        Quantity::Calls => Duration::from_secs(1),
        Quantity::Requests | Quantity::Tokens => {
            let missing = (least as f64 - available).clamp(0.0, limit * 2.0);
            Duration::from_secs_f64(missing * 60.0 / limit)
        }
    }
}

fn signed(amount: u64) -> i64 {
    i64::try_from(amount).unwrap_or(i64::MAX)
}

fn unsigned(amount: i64) -> u64 {
    u64::try_from(amount).unwrap_or_default()
}

#[cfg(test)]
mod tests;
