//! How many second attempts may be made: a share of the calls, so that a storm is not made worse
//! by those who try again.

/// Hundredths of an attempt that each call earns.
const EARNED: u32 = 10;
/// The most that is saved up, in hundredths: what a burst may use.
const MOST: u32 = 100 * 100;
/// What there is at the beginning, in hundredths.
const FIRST: u32 = 10 * 100;

/// The budget of one pool: one further attempt for ten calls, and at most a hundred saved up, so
/// that attempts are at most 1.2 times the calls in any thousand of them.
#[derive(Clone, Copy, Debug)]
pub struct RetryBudget {
    hundredths: u32,
}

impl Default for RetryBudget {
    fn default() -> Self {
        Self { hundredths: FIRST }
    }
}

impl RetryBudget {
    /// A call makes its first attempt.
    pub fn earn(&mut self) {
        self.hundredths = (self.hundredths + EARNED).min(MOST);
    }

    /// A call wants another attempt; false: it may not.
    #[must_use]
    pub const fn spend(&mut self) -> bool {
        let enough = self.hundredths >= 100;
        if enough {
            self.hundredths -= 100;
        }
        enough
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_a_storm_attempts_are_at_most_a_fifth_more_than_calls() {
        let mut budget = RetryBudget::default();
        // A long calm before.
        (0..1_000_000).for_each(|_| budget.earn());
        let (mut calls, mut attempts) = (0_u32, 0_u32);
        while calls < 1000 {
            calls += 1;
            attempts += 1;
            budget.earn();
            while budget.spend() {
                attempts += 1;
            }
        }
        assert!(attempts <= calls + calls / 5, "{attempts} of {calls}");
    }

    #[test]
    fn a_fresh_pool_may_try_again() {
        assert!(RetryBudget::default().spend());
    }
}
