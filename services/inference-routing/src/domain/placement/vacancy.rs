//! What the replicas of a pool would take, and when one is asked again that takes nothing now.

use std::time::{Duration, Instant};

use super::{
    Placement,
    slot::{Slot, SlotId, SlotState},
};
use crate::domain::breaker::Trust;

/// Nobody can be chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NobodyLeft {
    /// When one that is busy may be asked again, if one is.
    pub retry_after: Option<Duration>,
}

/// What the replicas of a pool would take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vacancy {
    /// Calls that would get a replica now. Without bound where no replica could be chosen, busy or not: nobody
    /// is to wait for what does not come.
    pub free: usize,
    /// When it may be more although no call ends.
    pub more_at: Option<Instant>,
    /// Where every replica that could be chosen said when it wants calls again: when the first of them does.
    pub not_before: Option<Instant>,
}

impl Placement {
    /// What the replicas would take now.
    #[must_use]
    pub fn vacancy(&self, now: Instant) -> Vacancy {
        let (mut free, mut more_at) = (0_usize, None);
        let (mut any, mut all_said) = (false, true);
        for slot in self.candidates(now) {
            any = true;
            let most = match slot.breaker.trust(now) {
                // One call shows how it is.
                Trust::HalfOpen => 1,
                Trust::Closed | Trust::Open => usize::MAX,
            };
            free = free.saturating_add(slot.free(now).min(most));
            let until = slot.left_alone_until(now);
            more_at = [more_at, until].into_iter().flatten().min();
            all_said &= slot.said_until(now).is_some();
        }
        // One that is left out shows then whether it is to be trusted again, by a call.
        let left_out = self.slots.iter().filter(|slot| !slot.draining);
        for trial in left_out.filter_map(|slot| slot.breaker.next_trial(now)) {
            more_at = [more_at, Some(trial)].into_iter().flatten().min();
            all_said = false;
        }
        Vacancy {
            free: if any { free } else { usize::MAX },
            more_at,
            not_before: more_at.filter(|_| all_said),
        }
    }

    /// One of the replicas at least is trusted: what it has no room for may wait for it.
    #[must_use]
    pub fn is_well(&self) -> bool {
        self.slots
            .iter()
            .any(|slot| slot.state() == SlotState::Active)
    }

    /// When one of those that were not tried may be asked.
    pub(super) fn nobody_left(&self, tried: &[SlotId], now: Instant) -> NobodyLeft {
        let untried = self
            .candidates(now)
            .filter(|slot| !tried.contains(&slot.id));
        let busy = untried.filter_map(|slot| Some(slot.left_alone_until(now)? - now));
        NobodyLeft {
            retry_after: busy.min(),
        }
    }

    /// Replicas that could be chosen, were they not busy.
    fn candidates(&self, now: Instant) -> impl Iterator<Item = &Slot> {
        let can = move |slot: &&Slot| !slot.draining && slot.breaker.trust(now) != Trust::Open;
        self.slots.iter().filter(can)
    }
}
