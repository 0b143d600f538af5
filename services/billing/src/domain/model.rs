//! Money as a pure model: provider, orders, ledger, leases, routers, outboxes, broker and inboxes,
//! driven by a seed through crashes, lost answers, repeated and reordered messages and forgeries.
//!
//! It uses the real rules ([`State`](super::order::State), [`Lease`](super::lease::Lease),
//! [`changes`](super::ledger::changes)) and imitates what is around them: transactions that commit
//! whole or not at all, row locks, a broker that delivers at least once. The same seed takes the
//! same way. Each [`Bug`] takes one mechanism away; a model that does not notice proves nothing.

mod bug;
mod bus;
mod chance;
mod database;
mod delivery;
mod payment;
mod provider;
mod router;
mod spending;
mod verdict;
mod work;
mod world;

pub use bug::Bug;
pub use verdict::Violation;

/// What happened on the way of a seed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Course {
    /// Steps of any process.
    pub steps: u32,
    /// Processes and brokers that died.
    pub crashes: u32,
    /// Orders that were credited.
    pub credited: u32,
    /// Calls that were billed.
    pub billed: u32,
}

/// Goes the way of a seed, with a bug or without.
///
/// # Errors
/// What does not hold at its end, or on the way.
pub fn run(seed: u64, bug: Option<Bug>) -> Result<Course, Violation> {
    world::World::new(seed, bug).run()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_seed_loses_or_makes_money() {
        let mut all = Course::default();
        for seed in 0..3_000 {
            let course = run(seed, None).unwrap_or_else(|why| panic!("seed {seed}: {why}"));
            all.crashes += course.crashes;
            all.credited += course.credited;
            all.billed += course.billed;
        }
        // A model in which nothing happens holds too.
        assert!(
            all.crashes > 3_000 && all.credited > 3_000 && all.billed > 3_000,
            "{all:?}"
        );
    }

    #[test]
    fn a_seed_goes_the_same_way_twice() {
        for seed in 0..50 {
            assert_eq!(run(seed, None), run(seed, None));
            let bug = Some(Bug::AckBeforeCommit);
            assert_eq!(run(seed, bug), run(seed, bug));
        }
    }

    #[test]
    fn every_bug_is_noticed() {
        for bug in Bug::ALL {
            let noticed = (0..20_000).find(|seed| run(*seed, Some(bug)).is_err());
            assert!(noticed.is_some(), "{bug:?}");
        }
    }
}
