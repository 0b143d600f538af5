//! What is known of one replica.

use std::time::{Duration, Instant};

use super::{
    prefix_cache::PrefixCache,
    room::{Room, STEP},
};
use crate::domain::{breaker::Breaker, engine_report::EngineReport, stall::Stall};

/// How fast the calls that a replica got are forgotten: by so many calls of the pool for each of its
/// replicas, whatever time they take.
const RECENT: f64 = 100.0;
/// What running calls weigh beside the calls that a replica got, and beside waiting work.
const RUNNING_WEIGHT: f64 = 3.0;
/// So many calls, and so many blocks that wait, are added to those of each replica before it is compared
/// with the mean: a few more than others have say little, many say all.
const FEW_CALLS: f64 = 10.0;
const FEW_BLOCKS: f64 = 100.0;
/// What a replica said of itself counts for so long.
const SAID_HOLDS: Duration = Duration::from_secs(5);
/// What a fresh replica gets of its share at first.
const FIRST_SHARE: f64 = 0.1;

/// A replica of a pool; no two of one pool ever have the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SlotId(pub(super) u32);

/// What a replica is to new calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SlotState {
    /// It gets calls.
    Active,
    /// It failed, and gets calls only because it is the last one standing.
    Doubted,
    /// It gets no more calls; those that it runs may end.
    Draining,
    /// It failed: it gets none but those on trial.
    Ejected,
}

#[derive(Debug)]
pub(super) struct Slot {
    pub id: SlotId,
    pub running: u32,
    /// The calls that it got lately: each counts less with each that the pool gets after it.
    pub recent: f64,
    /// New blocks of the calls that have no first token yet.
    pub waiting: u64,
    /// Calls that it runs for others, by what it said last, and when.
    elsewhere: Option<(u32, Instant)>,
    said: Option<EngineReport>,
    pub cache: PrefixCache,
    pub breaker: Breaker,
    pub draining: bool,
    /// Until when it said that it wants to be left alone.
    busy_until: Option<Instant>,
    /// How many calls of ours it runs at a time, by what it refused.
    room: Room,
    /// Whether anything comes from it.
    pub stall: Stall,
    /// Since when it is to be gone easy on.
    pub fresh_since: Instant,
}

impl Slot {
    pub fn new(id: SlotId, blocks: usize, fresh_since: Instant, recent: f64) -> Self {
        Self {
            id,
            running: 0,
            recent,
            waiting: 0,
            elsewhere: None,
            said: None,
            cache: PrefixCache::new(blocks),
            breaker: Breaker::default(),
            draining: false,
            busy_until: None,
            room: Room::default(),
            stall: Stall::default(),
            fresh_since,
        }
    }

    pub const fn state(&self) -> SlotState {
        if self.draining {
            SlotState::Draining
        } else if self.breaker.is_ejected() {
            SlotState::Ejected
        } else if self.breaker.is_doubted() {
            SlotState::Doubted
        } else {
            SlotState::Active
        }
    }

    pub fn is_busy(&self, now: Instant) -> bool {
        self.left_alone_until(now).is_some()
    }

    /// Until when it gets no call, because it said that it is busy; one that is full may get one before, when
    /// one of its own ends.
    pub fn left_alone_until(&self, now: Instant) -> Option<Instant> {
        let full = self.running >= self.room.most(now);
        let more_at = self.room.more_at(now).filter(|_| full);
        self.said_until(now).max(more_at)
    }

    /// Until when it said that it wants no call, whatever ends.
    pub fn said_until(&self, now: Instant) -> Option<Instant> {
        self.busy_until.filter(|until| *until > now)
    }

    /// How many more calls it may get.
    pub fn free(&self, now: Instant) -> usize {
        let more = self.room.most(now).saturating_sub(self.running);
        if self.is_busy(now) { 0 } else { more as usize }
    }

    /// It refused a call, which is not counted as running any more: it wants to be left alone for the time
    /// that it `said`, or has no room for one more.
    pub fn refused(&mut self, said: Option<Duration>, chance: u64, now: Instant) {
        let since = match said {
            Some(wait) => {
                self.busy_until = self.busy_until.max(Some(now + wait));
                // What is left to others is its own time.
                now + wait.saturating_sub(STEP)
            }
            None => now,
        };
        self.room.refused(self.running, since, chance);
    }

    /// The calls that it runs, those for others included.
    pub fn busy_with(&self, now: Instant) -> u32 {
        let fresh = |at: Instant| now.saturating_duration_since(at) < SAID_HOLDS;
        let elsewhere = self.elsewhere.filter(|(_, at)| fresh(*at));
        self.running
            .saturating_add(elsewhere.map_or(0, |(calls, _)| calls))
    }

    /// It said what it does. Answers whether it began anew, and what share of prompts it found.
    pub fn reported(&mut self, report: &EngineReport, now: Instant) -> (bool, Option<f64>) {
        let before = self.said.replace(*report);
        let restarted = before.is_some_and(|before| report.is_after_restart(&before));
        if restarted {
            self.is_another();
        }
        let all = report.running.saturating_add(report.waiting);
        self.elsewhere = Some((all.saturating_sub(self.running), now));
        let before = before.filter(|_| !restarted);
        (restarted, report.found_since(before.as_ref()))
    }

    /// It is another process now: what was known of the one before is forgotten.
    pub fn is_another(&mut self) {
        self.cache.clear();
        self.room = Room::default();
    }

    /// One of a pool of so many replicas gets a call, this one (`true`) or another.
    pub fn count_recent(&mut self, replicas: usize, is_its: bool) {
        let forgotten = 1.0 / (RECENT * replicas as f64);
        self.recent = self.recent * (1.0 - forgotten) + f64::from(is_its);
    }

    /// It is to be gone easy on from now on. What it got counts for the share that it begins with.
    pub fn begin_slowly(&mut self, now: Instant, slow_start: Duration) {
        self.fresh_since = now;
        self.recent *= self.share(now, slow_start);
    }

    /// What it gets of its share: less while it is fresh, 1 from then on. Only shares of one pool
    /// say something, beside each other.
    pub fn share(&self, now: Instant, slow_start: Duration) -> f64 {
        let age = now
            .saturating_duration_since(self.fresh_since)
            .as_secs_f64();
        (age / slow_start.as_secs_f64().max(f64::MIN_POSITIVE)).clamp(FIRST_SHARE, 1.0)
    }
}

/// What the replicas of a pool have on average.
pub(super) struct Mean {
    recent: f64,
    running: f64,
    waiting: f64,
}

impl Mean {
    pub fn of<'a>(slots: impl Iterator<Item = &'a Slot>, now: Instant) -> Self {
        let (mut recent, mut running, mut waiting, mut count) = (0.0, 0.0, 0.0, 0.0_f64);
        for slot in slots {
            recent += slot.recent;
            running += f64::from(slot.busy_with(now));
            waiting += slot.waiting as f64;
            count += 1.0;
        }
        let count = count.max(1.0);
        Self {
            recent: recent / count,
            running: running / count,
            waiting: waiting / count,
        }
    }

    /// How busy one is in comparison, were it to do so much anew; some 5 is as busy as all. One that is to get
    /// a tenth of what others get is as busy with a tenth.
    pub fn load(&self, slot: &Slot, anew: f64, share: f64, now: Instant) -> f64 {
        let (calls, blocks) = (FEW_CALLS, anew + FEW_BLOCKS);
        let (recent, running) = (slot.recent / share, f64::from(slot.busy_with(now)) / share);
        (recent + 1.0) / (self.recent + 1.0)
            + RUNNING_WEIGHT * (running + calls) / (self.running + calls)
            + (slot.waiting as f64 / share + blocks) / (self.waiting + blocks)
    }
}
