//! Which replica of a model gets a call.
//!
//! The default weighs what each replica would have to do anew for the prompt by how busy it is,
//! (new blocks + 1) x load, and takes the least: a call goes where its beginning is known as long as
//! that is not too busy, and a call that nobody knows goes where there is room. Load compares a
//! replica with the mean of the pool: the calls it got lately, those it runs, and the work of those that
//! wait for their first token. A few more than others have say little, so that calls stay where their
//! beginnings are; many more say all, so that one that is slow or hangs gets less. Where engines report
//! what they run, what others sent there counts as what it runs, and one that began anew knows no prompt
//! any more. One that refuses a call because it is full gets so many as it ran then, until it takes more
//! again. There is nothing to tune.
//!
//! Everything here is pure: the clock and chance are given.

mod choice;
mod prefix_cache;
mod prompt;
mod room;
mod slot;
mod vacancy;

use std::time::{Duration, Instant};

use serde::Deserialize;

pub use choice::{Choice, Score};
pub use prefix_cache::PrefixCache;
pub use prompt::{BLOCK_BYTES, MAX_BLOCKS, Prompt};
pub use slot::{SlotId, SlotState};
pub use vacancy::{NobodyLeft, Vacancy};

use super::{
    breaker::{BreakerLimits, Failure, Health},
    engine_report::EngineReport,
    retry_budget::RetryBudget,
    stall::Progress,
};
use slot::Slot;

/// How a replica is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Policy {
    /// Each in turn.
    RoundRobin,
    /// Of two that chance names, the one that is less busy.
    LeastOfTwo,
    /// Where the least is to be done anew, weighed by load.
    PrefixAware,
}

/// The limits of a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlacementLimits {
    /// When a replica is left out.
    pub breaker: BreakerLimits,
    /// How long nothing may come from a replica while calls wait for it.
    pub stall: Duration,
    /// How long a replica that is new, or trusted again, gets less than its share.
    pub slow_start: Duration,
    /// Blocks of prompts that are remembered of one replica.
    pub blocks: usize,
}

impl PlacementLimits {
    /// Those of the service's defaults, for tests and models.
    pub const DEFAULT: Self = Self {
        breaker: BreakerLimits::DEFAULT,
        stall: Duration::from_secs(20),
        slow_start: Duration::from_secs(30),
        blocks: 65_536,
    };
}

/// The replicas of a model and what is known of them.
#[derive(Debug)]
pub struct Placement {
    policy: Policy,
    limits: PlacementLimits,
    slots: Vec<Slot>,
    next_id: u32,
    turn: usize,
    chance: u64,
    budget: RetryBudget,
}

/// How a call ended for its replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// As it should.
    Well,
    /// By the replica's fault.
    Failed(Failure),
    /// It is busy and wants to be left alone so long.
    Busy(Duration),
    /// It has no room for one more and does not say for how long: it gets another when a call that it runs ends,
    /// and from time to time one more.
    Full,
    /// Nothing can be said: the client went away.
    Unknown,
}

/// What an ending, or an answer to the question how it is, changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Nothing.
    None,
    /// It is left out from now on.
    Ejected,
    /// It is trusted again.
    Trusted,
}

impl Placement {
    /// A pool without replicas; chance begins at `seed`.
    #[must_use]
    pub fn new(policy: Policy, limits: PlacementLimits, seed: u64) -> Self {
        Self {
            policy,
            limits,
            slots: Vec::new(),
            next_id: 0,
            turn: 0,
            chance: seed,
            budget: RetryBudget::default(),
        }
    }

    /// A replica joins. Beside others that were there before it begins slowly; those that join
    /// together, as all do when their router starts, share alike.
    pub fn add(&mut self, now: Instant) -> SlotId {
        let id = SlotId(self.next_id);
        self.next_id += 1;
        // As many as the others, for its share: it is owed nothing from before it was there.
        let recent: f64 = self.slots.iter().map(|slot| slot.recent).sum();
        let recent = recent / self.slots.len().max(1) as f64;
        let mut slot = Slot::new(id, self.limits.blocks, now, recent);
        slot.begin_slowly(now, self.limits.slow_start);
        self.slots.push(slot);
        id
    }

    /// A replica gets no more calls (`true`), or gets calls again.
    pub fn drain(&mut self, id: SlotId, draining: bool) {
        if let Some(slot) = self.slot(id) {
            slot.draining = draining;
        }
    }

    /// A replica is gone. Its calls may still end.
    pub fn remove(&mut self, id: SlotId) {
        self.slots.retain(|slot| slot.id != id);
    }

    /// The state of each replica and the calls that it runs.
    pub fn states(&self) -> impl Iterator<Item = (SlotId, SlotState, u32)> {
        self.slots
            .iter()
            .map(|slot| (slot.id, slot.state(), slot.running))
    }

    /// Blocks of prompts that are remembered of each replica.
    pub fn remembered(&self) -> impl Iterator<Item = (SlotId, usize)> {
        self.slots.iter().map(|slot| (slot.id, slot.cache.len()))
    }

    /// The first token came: the prompt is done.
    pub fn begun(&mut self, id: SlotId, new_blocks: u32) {
        if let Some(slot) = self.slot(id) {
            slot.waiting = slot.waiting.saturating_sub(u64::from(new_blocks));
        }
    }

    /// A call ended; `unbegun` are its new blocks if no token came.
    pub fn ended(&mut self, id: SlotId, unbegun: u32, ending: Ending, now: Instant) -> Change {
        let (limits, alone) = (self.limits, self.is_alone(id));
        let Some(slot) = self.slot(id) else {
            return Change::None;
        };
        slot.running = slot.running.saturating_sub(1);
        slot.waiting = slot.waiting.saturating_sub(u64::from(unbegun));
        match ending {
            Ending::Unknown => Change::None,
            Ending::Busy(wait) => self.refused(id, Some(wait), now),
            Ending::Full => self.refused(id, None, now),
            Ending::Well if slot.breaker.succeeded() => {
                slot.begin_slowly(now, limits.slow_start);
                Change::Trusted
            }
            Ending::Well => Change::None,
            Ending::Failed(failure) => {
                if failure == Failure::Refused {
                    // It is another process when it comes back.
                    slot.is_another();
                }
                let ejected = slot.breaker.failed(failure, alone, &limits.breaker, now);
                if ejected {
                    Change::Ejected
                } else {
                    Change::None
                }
            }
        }
    }

    /// A replica refused a call, as in [`Slot::refused`].
    fn refused(&mut self, id: SlotId, said: Option<Duration>, now: Instant) -> Change {
        let chance = self.next_chance();
        if let Some(slot) = self.slot(id) {
            slot.refused(said, chance, now);
        }
        Change::None
    }

    /// A replica was asked how it is, and what came from it was looked at.
    pub fn asked(
        &mut self,
        id: SlotId,
        health: Health,
        progress: Progress,
        now: Instant,
    ) -> Change {
        let (limits, alone) = (self.limits, self.is_alone(id));
        let Some(slot) = self.slot(id) else {
            return Change::None;
        };
        let breaker = &mut slot.breaker;
        let is_news = slot.stall.is_news(progress);
        if is_news {
            breaker.came();
        }
        let health = match health {
            Health::Late if is_news => Health::Lost,
            health => health,
        };
        let ill = breaker.asked(health, alone, &limits.breaker, now);
        // What is on trial has one call.
        let least = if breaker.is_ejected() {
            1
        } else {
            limits.breaker.failures
        };
        let stalled = slot.stall.look_again(progress, least, limits.stall, now)
            && breaker.stalled(alone, &limits.breaker, now);
        if ill || stalled {
            Change::Ejected
        } else {
            Change::None
        }
    }

    /// A replica said what it does. Answers whether it began anew, and the share of prompts that it
    /// found in its cache since it said so last.
    pub fn reported(
        &mut self,
        id: SlotId,
        report: &EngineReport,
        now: Instant,
    ) -> (bool, Option<f64>) {
        self.slot(id)
            .map_or((false, None), |slot| slot.reported(report, now))
    }

    /// No other replica could be chosen: all are ejected or leave.
    fn is_alone(&self, id: SlotId) -> bool {
        let mut others = self.slots.iter().filter(|slot| slot.id != id);
        !others.any(|slot| matches!(slot.state(), SlotState::Active | SlotState::Doubted))
    }

    fn slot(&mut self, id: SlotId) -> Option<&mut Slot> {
        self.slots.iter_mut().find(|slot| slot.id == id)
    }
}

#[cfg(test)]
mod tests;
