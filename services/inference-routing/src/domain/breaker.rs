//! When a replica is left out, and when it is trusted again. A machine without a clock of its own.

use std::time::{Duration, Instant};

/// Outcomes that are remembered.
const WINDOW: u32 = 20;
/// Outcomes that must be known before their share counts.
const LEAST: u32 = 10;

/// What went wrong with one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Failure {
    /// Nothing listens there: known at once.
    Refused,
    /// The way there failed: the fault may be the network's.
    Transport,
    /// It answered that it is not able to.
    Status,
    /// It was silent for too long.
    Silent,
    /// It broke off, or sent nonsense.
    Broken,
}

/// When a replica is left out.
#[derive(Clone, Copy, Debug)]
pub struct BreakerLimits {
    /// Failures in a row, those of the way there not counted.
    pub failures: u32,
    /// Failures of the way there in a row.
    pub transport_failures: u32,
    /// How long it is left out the first time; twice as long each time after.
    pub first_backoff: Duration,
    /// At most.
    pub longest_backoff: Duration,
}

/// The state of trust in a replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// It gets calls.
    Closed,
    /// It gets none.
    Open,
    /// It may have one call, on trial.
    HalfOpen,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Closed,
    /// Until then nothing; from then on one call, on trial.
    Open {
        until: Instant,
    },
    /// A call is on trial; its end decides, or another trial is due then.
    Trial {
        another: Instant,
    },
}

/// The breaker of one replica.
#[derive(Clone, Copy, Debug)]
pub struct Breaker {
    state: State,
    failures: u32,
    transport_failures: u32,
    /// The last outcomes, the latest as the lowest bit; 1 is a failure.
    outcomes: u32,
    known: u32,
    ejections: u32,
    /// It said itself that it is well, or nobody asked.
    well: bool,
    /// It would be left out until then, were it not the last one standing.
    doubted_until: Option<Instant>,
}

impl Default for Breaker {
    fn default() -> Self {
        Self {
            state: State::Closed,
            failures: 0,
            transport_failures: 0,
            outcomes: 0,
            known: 0,
            ejections: 0,
            well: true,
            doubted_until: None,
        }
    }
}

impl Breaker {
    /// How far it is trusted.
    #[must_use]
    pub fn trust(&self, now: Instant) -> Trust {
        match self.state {
            State::Closed => Trust::Closed,
            State::Open { until } | State::Trial { another: until }
                if until <= now && self.well =>
            {
                Trust::HalfOpen
            }
            State::Open { .. } | State::Trial { .. } => Trust::Open,
        }
    }

    /// It is left out, or on trial.
    #[must_use]
    pub const fn is_ejected(&self) -> bool {
        !matches!(self.state, State::Closed)
    }

    /// A call is sent there on trial.
    pub fn try_again(&mut self, limits: &BreakerLimits, now: Instant) {
        let another = now + self.backoff(limits);
        self.state = State::Trial { another };
    }

    /// A call that can go elsewhere passes it by: it is left in only because it is the last one standing.
    /// One call a backoff does not, and shows how it is.
    #[must_use]
    pub fn pass_by(&mut self, limits: &BreakerLimits, now: Instant) -> bool {
        let Some(until) = self.doubted_until else {
            return false;
        };
        let doubted = until > now;
        if !doubted {
            self.doubted_until = Some(now + self.backoff(limits));
        }
        doubted
    }

    /// A call ended as it should. Answers whether this ended an ejection.
    pub fn succeeded(&mut self) -> bool {
        self.failures = 0;
        self.transport_failures = 0;
        self.doubted_until = None;
        self.remember(false);
        let over = matches!(self.state, State::Trial { .. });
        if over {
            self.state = State::Closed;
            (self.outcomes, self.known) = (0, 0);
        } else if self.outcomes == 0 && self.known == WINDOW {
            self.ejections = 0;
        }
        over
    }

    /// A call failed. Answers whether this ejected it; `alone`, it is never: a replica that may be
    /// ill is better than none.
    pub fn failed(
        &mut self,
        failure: Failure,
        alone: bool,
        limits: &BreakerLimits,
        now: Instant,
    ) -> bool {
        match failure {
            Failure::Refused | Failure::Transport => self.transport_failures += 1,
            Failure::Status | Failure::Silent | Failure::Broken => self.failures += 1,
        }
        self.remember(true);
        let often = self.known >= LEAST && self.outcomes.count_ones() * 2 >= self.known;
        let eject = match self.state {
            State::Trial { .. } => true,
            State::Open { .. } => false,
            State::Closed => {
                failure == Failure::Refused
                    || self.failures >= limits.failures
                    || self.transport_failures >= limits.transport_failures
                    || often
            }
        };
        eject && self.eject(alone, limits, now)
    }

    /// It was asked how it is. `ill_for` is how many times in a row it was not well. Answers
    /// whether this ejected it.
    pub fn asked(
        &mut self,
        ill_for: u32,
        alone: bool,
        limits: &BreakerLimits,
        now: Instant,
    ) -> bool {
        self.well = ill_for == 0;
        let closed = matches!(self.state, State::Closed);
        closed && ill_for >= limits.failures && self.eject(alone, limits, now)
    }

    /// Nothing comes from it though calls wait, the one on trial perhaps. Answers whether this ejected it.
    pub fn stalled(&mut self, alone: bool, limits: &BreakerLimits, now: Instant) -> bool {
        !matches!(self.state, State::Open { .. }) && self.eject(alone, limits, now)
    }

    fn eject(&mut self, alone: bool, limits: &BreakerLimits, now: Instant) -> bool {
        let until = now + self.backoff(limits);
        if alone {
            self.doubted_until = Some(until);
            return false;
        }
        self.state = State::Open { until };
        self.ejections += 1;
        self.failures = 0;
        self.transport_failures = 0;
        (self.outcomes, self.known) = (0, 0);
        true
    }

    fn backoff(&self, limits: &BreakerLimits) -> Duration {
        let backoff = limits.first_backoff * 2_u32.saturating_pow(self.ejections.min(16));
        backoff.min(limits.longest_backoff)
    }

    const fn remember(&mut self, failed: bool) {
        self.outcomes = ((self.outcomes << 1) | failed as u32) & ((1 << WINDOW) - 1);
        if self.known < WINDOW {
            self.known += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::{Rng as _, SeedableRng as _};

    use super::*;

    const LIMITS: BreakerLimits = BreakerLimits {
        failures: 3,
        transport_failures: 5,
        first_backoff: Duration::from_secs(1),
        longest_backoff: Duration::from_secs(30),
    };

    fn fail(breaker: &mut Breaker, failure: Failure, now: Instant) -> bool {
        breaker.failed(failure, false, &LIMITS, now)
    }

    #[test]
    fn failures_of_the_way_there_count_apart_from_those_of_the_replica() {
        let now = Instant::now();
        let mut breaker = Breaker::default();
        for _ in 0..2 {
            assert!(!fail(&mut breaker, Failure::Transport, now));
            assert!(!fail(&mut breaker, Failure::Status, now));
        }
        assert!(!fail(&mut breaker, Failure::Transport, now));
        assert!(!fail(&mut breaker, Failure::Transport, now));
        assert!(fail(&mut breaker, Failure::Transport, now));
        let mut breaker = Breaker::default();
        assert!(fail(&mut breaker, Failure::Refused, now));
    }

    #[test]
    fn a_replica_is_not_left_out_for_connections_that_are_lost_now_and_then() {
        let now = Instant::now();
        let mut breaker = Breaker::default();
        for n in 0..1000 {
            // As when a proxy between closes what was idle: three in a row, then none for long.
            if n % 10 < 3 {
                assert!(!fail(&mut breaker, Failure::Transport, now), "{n}");
            } else {
                breaker.succeeded();
            }
        }
    }

    #[test]
    fn half_of_the_calls_are_enough_even_if_never_three_in_a_row() {
        let now = Instant::now();
        let mut breaker = Breaker::default();
        let ejected_at = (0..20).find(|n| {
            if n % 2 == 0 {
                breaker.succeeded();
                false
            } else {
                fail(&mut breaker, Failure::Broken, now)
            }
        });
        assert_eq!(ejected_at, Some(9));
        let mut breaker = Breaker::default();
        for n in 0..200 {
            if n % 4 == 0 {
                assert!(!fail(&mut breaker, Failure::Status, now));
            } else {
                breaker.succeeded();
            }
        }
    }

    #[test]
    fn trust_comes_back_by_one_call_on_trial_and_waits_longer_each_time() {
        let mut now = Instant::now();
        let mut breaker = Breaker::default();
        assert!(fail(&mut breaker, Failure::Refused, now));
        for seconds in [2, 4, 8, 16, 30, 30] {
            assert_eq!(breaker.trust(now), Trust::Open);
            now += Duration::from_secs(30);
            assert_eq!(breaker.trust(now), Trust::HalfOpen);
            breaker.try_again(&LIMITS, now);
            assert_eq!(breaker.trust(now), Trust::Open, "one at a time");
            assert!(fail(&mut breaker, Failure::Silent, now));
            let almost = now + Duration::from_secs(seconds) - Duration::from_millis(1);
            assert_eq!(breaker.trust(almost), Trust::Open);
        }
        now += Duration::from_secs(30);
        assert!(breaker.asked(1, false, &LIMITS, now) || breaker.trust(now) == Trust::Open);
        breaker.asked(0, false, &LIMITS, now);
        breaker.try_again(&LIMITS, now);
        assert!(breaker.succeeded());
        assert_eq!(breaker.trust(now), Trust::Closed);
    }

    #[test]
    fn one_that_stands_still_is_left_out_and_again_while_its_trial_hangs() {
        let mut now = Instant::now();
        let mut breaker = Breaker::default();
        assert!(
            !breaker.stalled(true, &LIMITS, now),
            "the last one standing"
        );
        assert!(breaker.stalled(false, &LIMITS, now));
        assert!(
            !breaker.stalled(false, &LIMITS, now),
            "it is left out already"
        );
        now += LIMITS.first_backoff * 2;
        assert_eq!(breaker.trust(now), Trust::HalfOpen, "its health is well");
        breaker.try_again(&LIMITS, now);
        assert!(breaker.stalled(false, &LIMITS, now));
        assert_eq!(breaker.trust(now + LIMITS.first_backoff), Trust::Open);
    }

    #[test]
    fn the_last_one_standing_is_never_ejected_whatever_happens() {
        for seed in 0..100 {
            let mut chance = rand_chacha::ChaCha20Rng::seed_from_u64(seed);
            let (mut breaker, mut now) = (Breaker::default(), Instant::now());
            for _ in 0..200 {
                now += Duration::from_millis(chance.random_range(0..500));
                let kinds = [
                    Failure::Refused,
                    Failure::Transport,
                    Failure::Status,
                    Failure::Silent,
                    Failure::Broken,
                ];
                let kind = kinds[chance.random_range(0..kinds.len())];
                assert!(!breaker.failed(kind, true, &LIMITS, now));
                breaker.asked(chance.random_range(0..9), true, &LIMITS, now);
                assert_eq!(breaker.trust(now), Trust::Closed);
            }
        }
    }
}
