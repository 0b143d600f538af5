//! Which replica of a model gets a call.
//!
//! The default weighs what each replica would have to do anew for the prompt by how busy it is,
//! (new blocks + 1) x load, and takes the least: a call goes where its beginning is known as long as
//! that is not too busy, and a call that nobody knows goes where there is room. Load compares a
//! replica with the mean of the pool: the calls it got lately, those it runs, and the work of those that
//! wait for their first token. A few more than others have say little, so that calls stay where their
//! beginnings are; many more say all, so that one that is slow or hangs gets less. Where engines report
//! what they run, what others sent there counts as what it runs, and one that began anew knows no prompt
//! any more. There is nothing to tune.
//!
//! Everything here is pure: the clock and chance are given.

mod prefix_cache;
mod prompt;
mod slot;

use std::time::{Duration, Instant};

use serde::Deserialize;

pub use prefix_cache::PrefixCache;
pub use prompt::{BLOCK_BYTES, MAX_BLOCKS, Prompt};
pub use slot::{SlotId, SlotState};

use super::{
    breaker::{BreakerLimits, Failure, Trust},
    engine_report::EngineReport,
    retry_budget::RetryBudget,
    stall::Progress,
};
use slot::{Mean, Slot};

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

/// A choice. It counts as load until [`Placement::ended`].
#[derive(Clone, Debug, PartialEq)]
pub struct Choice {
    /// The chosen.
    pub id: SlotId,
    /// The call is to show whether the replica is to be trusted again.
    pub on_trial: bool,
    /// Blocks of the prompt that it has to do anew, as far as is known.
    pub new_blocks: u32,
    /// What each that could be chosen scored; least is best.
    pub scores: Vec<Score>,
}

/// What one replica scored.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Score {
    /// The replica.
    pub id: SlotId,
    /// Blocks that it would have to do anew.
    pub new_blocks: u32,
    /// Calls that it runs.
    pub running: u32,
    /// The score.
    pub score: f64,
}

/// Nobody can be chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NobodyLeft {
    /// When one that asked to be left alone may be asked again, if one did.
    pub retry_after: Option<Duration>,
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
    /// It has no room for one more and does not say for how long: it is left alone until a call that it runs
    /// ends, and at most so long.
    Full(Duration),
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

    /// Chooses a replica for a prompt, not one of `tried`. The first attempt of a call earns a
    /// share of a second one; a further one needs what others earned.
    pub fn choose(
        &mut self,
        prompt: &Prompt,
        tried: &[SlotId],
        now: Instant,
    ) -> Result<Choice, NobodyLeft> {
        let scores = self.scores(prompt, tried, now);
        let on_trial = self.on_trial(tried, now);
        if scores.is_empty() && on_trial.is_none() {
            return Err(self.nobody_left(tried, now));
        }
        if tried.is_empty() {
            self.budget.earn();
        } else if !self.budget.spend() {
            return Err(NobodyLeft { retry_after: None });
        }
        let id = match on_trial {
            Some(id) => id,
            None => self.best(&scores),
        };
        let (limits, waiting) = (self.limits, prompt.blocks().len());
        let Some(slot) = self.slot(id) else {
            return Err(NobodyLeft { retry_after: None });
        };
        if on_trial.is_some() {
            slot.breaker.try_again(&limits.breaker, now);
        }
        let new_blocks = (waiting - slot.cache.matched(prompt.blocks())) as u32;
        slot.cache.insert(prompt.blocks());
        slot.running += 1;
        slot.waiting += u64::from(new_blocks);
        let replicas = self.slots.len();
        for slot in &mut self.slots {
            slot.count_recent(replicas, slot.id == id);
        }
        Ok(Choice {
            id,
            on_trial: on_trial.is_some(),
            new_blocks,
            scores,
        })
    }

    /// A call that can go to another model passes this one by: every replica that could be chosen failed and
    /// is left in only as better than none. From time to time one call does not, and shows how it is. Who
    /// passes by makes its first attempt elsewhere, and earns here what the one that does not may need.
    pub fn pass_by(&mut self, now: Instant) -> bool {
        if self.on_trial(&[], now).is_some() {
            return false;
        }
        let limits = self.limits.breaker;
        let able = |slot: &&mut Slot| {
            !slot.draining && !slot.is_busy(now) && slot.breaker.trust(now) == Trust::Closed
        };
        let mut able = self.slots.iter_mut().filter(able).peekable();
        let passed_by =
            able.peek().is_some() && able.all(|slot| slot.breaker.pass_by(&limits, now));
        if passed_by {
            self.budget.earn();
        }
        passed_by
    }

    /// A call that failed here wants an attempt with another model: a further one, as one with another
    /// replica is. False: it may not.
    pub const fn may_go_on(&mut self) -> bool {
        self.budget.spend()
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
            Ending::Busy(wait) => {
                slot.busy_until = slot.busy_until.max(Some(now + wait));
                Change::None
            }
            Ending::Full(wait) => {
                slot.full = Some((slot.running, now + wait));
                Change::None
            }
            Ending::Well if slot.breaker.succeeded() => {
                slot.begin_slowly(now, limits.slow_start);
                Change::Trusted
            }
            Ending::Well => Change::None,
            Ending::Failed(failure) => {
                if failure == Failure::Refused {
                    // It is another process when it comes back.
                    slot.cache.clear();
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

    /// A replica was asked how it is, and what came from it was looked at.
    pub fn asked(&mut self, id: SlotId, well: bool, progress: Progress, now: Instant) -> Change {
        let (limits, alone) = (self.limits, self.is_alone(id));
        let Some(slot) = self.slot(id) else {
            return Change::None;
        };
        slot.ill_for = if well {
            0
        } else {
            slot.ill_for.saturating_add(1)
        };
        let breaker = &mut slot.breaker;
        let ill = breaker.asked(slot.ill_for, alone, &limits.breaker, now);
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

    fn scores(&self, prompt: &Prompt, tried: &[SlotId], now: Instant) -> Vec<Score> {
        let able = |slot: &&Slot| {
            !slot.draining
                && !slot.is_busy(now)
                && slot.breaker.trust(now) == Trust::Closed
                && !tried.contains(&slot.id)
        };
        let mean = Mean::of(self.slots.iter().filter(able), now);
        let share = |slot: &Slot| slot.share(now, self.limits.slow_start);
        let most = self.slots.iter().filter(able).map(share);
        let most = most.fold(f64::MIN_POSITIVE, f64::max);
        let score = |slot: &Slot| {
            let new_blocks = (prompt.blocks().len() - slot.cache.matched(prompt.blocks())) as u32;
            let anew = f64::from(new_blocks) + 1.0;
            let share = share(slot) / most;
            let score = match self.policy {
                Policy::PrefixAware => anew * mean.load(slot, anew, share, now),
                Policy::RoundRobin | Policy::LeastOfTwo => {
                    f64::from(slot.busy_with(now) + 1) / share
                }
            };
            Score {
                id: slot.id,
                new_blocks,
                running: slot.running,
                score,
            }
        };
        self.slots.iter().filter(able).map(score).collect()
    }

    /// A replica that may show whether it is to be trusted again.
    fn on_trial(&self, tried: &[SlotId], now: Instant) -> Option<SlotId> {
        let due = |slot: &&Slot| {
            !slot.draining
                && !slot.is_busy(now)
                && slot.breaker.trust(now) == Trust::HalfOpen
                && !tried.contains(&slot.id)
        };
        // Who was tried and failed already waits for no experiment.
        let slot = self.slots.iter().find(due).filter(|_| tried.is_empty());
        slot.map(|slot| slot.id)
    }

    /// The best of at least one.
    fn best(&mut self, scores: &[Score]) -> SlotId {
        let count = scores.len();
        let first = (self.next_chance() % count as u64) as usize;
        let at = match self.policy {
            Policy::RoundRobin => {
                self.turn = self.turn.wrapping_add(1);
                self.turn % count
            }
            Policy::LeastOfTwo => {
                let others = (count - 1).max(1) as u64;
                let second = (first + 1 + (self.next_chance() % others) as usize) % count;
                if scores[second].score < scores[first].score {
                    second
                } else {
                    first
                }
            }
            Policy::PrefixAware => {
                // From a place that chance names: of equals each is as likely.
                let turned = (0..count).map(|n| (n + first) % count);
                turned
                    .min_by(|a, b| scores[*a].score.total_cmp(&scores[*b].score))
                    .unwrap_or(first)
            }
        };
        scores[at].id
    }

    fn nobody_left(&self, tried: &[SlotId], now: Instant) -> NobodyLeft {
        let slots = self.slots.iter().filter(|slot| !tried.contains(&slot.id));
        let busy = slots.filter_map(|slot| Some(slot.left_alone_until(now)? - now));
        NobodyLeft {
            retry_after: busy.min(),
        }
    }

    /// SplitMix64.
    const fn next_chance(&mut self) -> u64 {
        self.chance = self.chance.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.chance;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

#[cfg(test)]
mod tests;
