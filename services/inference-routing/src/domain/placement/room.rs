//! How many calls of ours a replica runs at a time, learned from what it refuses for want of room.
//!
//! So many as ran when it refused one more. For a step it gets fewer, so that another router whose calls it
//! refuses finds room; for some steps just so many; then more with each step, twice as many more each time, until
//! it refuses again. One refusal costs one attempt in some seconds, and what was too low for once is forgotten within
//! seconds. How many steps it keeps the number is drawn: routers that share a replica would else try one more at the same
//! time for ever, and find none of what the other leaves.

use std::time::{Duration, Instant};

/// How long the number stays as it is at least.
pub(super) const STEP: Duration = Duration::from_secs(1);
/// Which part of it is left to others in the first step.
const LEFT_TO_OTHERS: u32 = 4;
/// It is kept for at least so many steps, and for fewer than so many more.
const KEPT: u64 = 3;
const KEPT_MORE: u64 = 3;
/// It doubles no more often: what is more than a billion is no bound.
const MOST_DOUBLINGS: u64 = 29;

/// What is known of a replica's room: nothing before it refuses a call.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Room(Option<Refused>);

#[derive(Clone, Copy, Debug)]
struct Refused {
    /// Calls of ours that it ran beside the one that it refused.
    others: u32,
    /// When the first step begins.
    since: Instant,
    /// Steps until one more is tried.
    kept: u64,
}

impl Refused {
    /// Steps that are over.
    fn steps(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.since).as_secs() / STEP.as_secs()
    }
}

impl Room {
    /// It had no room for one more beside so many others. Steps are counted from `since`.
    pub fn refused(&mut self, others: u32, since: Instant, chance: u64) {
        let since = self
            .0
            .map_or(since, |before: Refused| before.since.max(since));
        self.0 = Some(Refused {
            others,
            since,
            kept: KEPT + chance % KEPT_MORE,
        });
    }

    /// Calls of ours that it may run now: one at least, but in the first step after it refused one although
    /// it ran no other.
    pub fn most(&self, now: Instant) -> u32 {
        let Some(refused) = &self.0 else {
            return u32::MAX;
        };
        let (others, steps) = (refused.others, refused.steps(now));
        match steps.checked_sub(refused.kept) {
            Some(more) => {
                let more = (2_u32 << more.min(MOST_DOUBLINGS)) - 1;
                others.max(1).saturating_add(more)
            }
            None if steps == 0 => others - others / LEFT_TO_OTHERS,
            None => others.max(1),
        }
    }

    /// When the next step begins: it may be more then.
    pub fn more_at(&self, now: Instant) -> Option<Instant> {
        let refused = &self.0?;
        let next = u32::try_from(refused.steps(now) + 1).ok()?;
        refused.since.checked_add(STEP.checked_mul(next)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a replica may run in each step after it refused one beside so many.
    fn steps(others: u32, chance: u64, steps: u32) -> Vec<u32> {
        let (mut room, now) = (Room::default(), Instant::now());
        room.refused(others, now, chance);
        let most = |step| room.most(now + STEP * step + STEP / 2);
        (0..steps).map(most).collect()
    }

    #[test]
    fn what_a_replica_may_run_is_what_it_ran_and_grows_while_it_refuses_nothing() {
        let room = Room::default();
        assert_eq!(room.most(Instant::now()), u32::MAX, "nothing is known");
        assert_eq!(steps(8, 0, 7), [6, 8, 8, 9, 11, 15, 23]);
        assert_eq!(steps(8, 2, 7), [6, 8, 8, 8, 8, 9, 11]);
        assert_eq!(steps(100, 0, 4), [75, 100, 100, 101]);
        // It never ends at nothing, and forgets.
        assert_eq!(steps(0, 0, 5), [0, 1, 1, 2, 4]);
        assert_eq!(steps(1, 0, 5), [1, 1, 1, 2, 4]);
        assert!(steps(1, 0, 600)[599] > 1_000_000_000);
    }

    #[test]
    fn of_refusals_the_newest_counts_from_the_latest_time_that_any_asked_for() {
        let (mut room, now) = (Room::default(), Instant::now());
        room.refused(12, now + 30 * STEP, 0);
        room.refused(8, now, 0);
        for (after, most) in [(0, 6), (30, 6), (31, 8), (33, 9)] {
            assert_eq!(room.most(now + STEP * after + STEP / 2), most, "{after}");
        }
        assert_eq!(room.more_at(now), Some(now + 31 * STEP));
        assert_eq!(
            room.more_at(now + 31 * STEP + STEP / 2),
            Some(now + 32 * STEP)
        );
    }
}
