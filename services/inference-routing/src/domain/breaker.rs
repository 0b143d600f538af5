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

/// What became of the question how a replica is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Health {
    /// It said that it is well.
    Well,
    /// It said that it is not, or nothing listens there.
    Ill,
    /// It said nothing in time. One that is busy with calls may: it is ill when nothing comes of those either.
    Late,
    /// The way there failed: the fault may be the network's.
    Lost,
}

/// When a replica is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BreakerLimits {
    /// Failures in a row, those of the way there not counted; or times in a row that it is ill.
    pub failures: u32,
    /// Failures of the way there in a row; or lost questions how it is, while nothing comes of calls.
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
    /// A call is on trial; its end decides, or another trial is due then. So many before it have no end yet.
    Trial {
        another: Instant,
        unended: u32,
    },
}

/// What speaks against the last one standing, which is not left out for it.
#[derive(Clone, Copy, Debug)]
struct Doubt {
    /// Calls that can go elsewhere pass it by until then.
    until: Instant,
    /// It was not reached, or said itself that it is not well: its own word that it is well ends the doubt.
    /// What calls showed of it, only a call can disprove.
    ends_by_word: bool,
}

impl BreakerLimits {
    /// Those of the service's defaults, for tests and models.
    pub const DEFAULT: Self = Self {
        failures: 3,
        transport_failures: 5,
        first_backoff: Duration::from_secs(1),
        longest_backoff: Duration::from_secs(30),
    };
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
    /// How often it was ill since it was well last.
    ill_for: u32,
    /// How often the question was lost since it was well last, or anything came of a call.
    lost_for: u32,
    /// It would be left out, were it not the last one standing.
    doubt: Option<Doubt>,
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
            ill_for: 0,
            lost_for: 0,
            doubt: None,
        }
    }
}

impl Breaker {
    /// How far it is trusted.
    #[must_use]
    pub fn trust(&self, now: Instant) -> Trust {
        match self.state {
            State::Closed => Trust::Closed,
            State::Open { until } | State::Trial { another: until, .. }
                if until <= now && self.well =>
            {
                Trust::HalfOpen
            }
            State::Open { .. } | State::Trial { .. } => Trust::Open,
        }
    }

    /// When it may have its next call on trial, where that is only a matter of time.
    #[must_use]
    pub fn next_trial(&self, now: Instant) -> Option<Instant> {
        match self.state {
            State::Open { until } | State::Trial { another: until, .. } => {
                Some(until).filter(|until| *until > now && self.well)
            }
            State::Closed => None,
        }
    }

    /// It is left out, or on trial.
    #[must_use]
    pub const fn is_ejected(&self) -> bool {
        !matches!(self.state, State::Closed)
    }

    /// It gets calls only because a replica that may be ill is better than none.
    #[must_use]
    pub const fn is_doubted(&self) -> bool {
        self.doubt.is_some()
    }

    /// A call is sent there on trial. While it has no end, the next waits twice as long as it did: that an
    /// answer in one piece never comes is known late.
    pub fn try_again(&mut self, limits: &BreakerLimits, now: Instant) {
        let unended = match self.state {
            State::Trial { unended, .. } => unended + 1,
            State::Closed | State::Open { .. } => 0,
        };
        let wait = self.backoff(limits) * 2_u32.pow(unended.min(16));
        let another = now + wait.min(limits.longest_backoff);
        self.state = State::Trial { another, unended };
    }

    /// A call that can go elsewhere passes it by: it is left in only because it is the last one standing.
    /// One call a backoff does not, and shows how it is.
    #[must_use]
    pub fn pass_by(&mut self, limits: &BreakerLimits, now: Instant) -> bool {
        let again = now + self.backoff(limits);
        let Some(doubt) = &mut self.doubt else {
            return false;
        };
        let passed_by = doubt.until > now;
        if !passed_by {
            doubt.until = again;
        }
        passed_by
    }

    /// A call ended as it should. Answers whether this ended an ejection.
    pub fn succeeded(&mut self) -> bool {
        self.failures = 0;
        self.transport_failures = 0;
        self.lost_for = 0;
        self.doubt = None;
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
        let ends_by_word = matches!(failure, Failure::Refused | Failure::Transport);
        eject && self.eject(alone, ends_by_word, limits, now)
    }

    /// Something came of a call, though it may go on: there is a way there.
    pub const fn came(&mut self) {
        self.lost_for = 0;
    }

    /// It was asked how it is. Answers whether this ejected it.
    pub fn asked(
        &mut self,
        health: Health,
        alone: bool,
        limits: &BreakerLimits,
        now: Instant,
    ) -> bool {
        self.well = health == Health::Well;
        match health {
            Health::Well => {
                (self.ill_for, self.lost_for) = (0, 0);
                self.doubt = self.doubt.filter(|doubt| !doubt.ends_by_word);
            }
            Health::Ill | Health::Late => self.ill_for = self.ill_for.saturating_add(1),
            Health::Lost => self.lost_for = self.lost_for.saturating_add(1),
        }
        let ill = self.ill_for >= limits.failures || self.lost_for >= limits.transport_failures;
        let closed = matches!(self.state, State::Closed);
        closed && ill && self.eject(alone, true, limits, now)
    }

    /// Nothing comes from it though calls wait, the one on trial perhaps. Answers whether this ejected it.
    pub fn stalled(&mut self, alone: bool, limits: &BreakerLimits, now: Instant) -> bool {
        !matches!(self.state, State::Open { .. }) && self.eject(alone, false, limits, now)
    }

    fn eject(
        &mut self,
        alone: bool,
        ends_by_word: bool,
        limits: &BreakerLimits,
        now: Instant,
    ) -> bool {
        let until = now + self.backoff(limits);
        if alone {
            self.doubt = Some(Doubt {
                until,
                ends_by_word,
            });
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
mod tests;
