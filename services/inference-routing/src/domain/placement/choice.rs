//! The choice of a replica for one call, and whether a further attempt may be made.

use std::time::Instant;

use super::{
    NobodyLeft, Placement, Policy, Prompt, SlotId,
    slot::{Mean, Slot},
};
use crate::domain::breaker::Trust;

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

impl Placement {
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

    /// SplitMix64.
    pub(super) const fn next_chance(&mut self) -> u64 {
        self.chance = self.chance.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.chance;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}
