//! How large the leases of an account are to be, by how fast it uses them up: who calls a thousand times
//! a second does not ask billing forty times in it, and who calls now and then locks up little.

use std::time::{Duration, Instant};

/// A lease that lasts less than this is to be twice as large the next time.
const SOON: Duration = Duration::from_secs(2);
/// A lease that lasts longer than this is to be half as large the next time.
const LATE: Duration = Duration::from_secs(10);
/// So many times the usual lease at most.
const MOST: i64 = 16;

/// How many times the usual lease an account wants.
#[derive(Debug)]
pub struct Appetite {
    times: i64,
    lent: Option<Instant>,
}

impl Default for Appetite {
    fn default() -> Self {
        Self {
            times: 1,
            lent: None,
        }
    }
}

impl Appetite {
    /// How many times the usual lease the next one should be.
    #[must_use]
    pub const fn times(&self) -> i64 {
        self.times
    }

    /// A lease was lent: the one before it lasted until now.
    pub fn lent(&mut self, now: Instant) {
        let lasted = self.lent.replace(now);
        let lasted = lasted.map(|at| now.saturating_duration_since(at));
        self.times = match lasted {
            Some(lasted) if lasted < SOON => (self.times * 2).min(MOST),
            Some(lasted) if lasted > LATE => (self.times / 2).max(1),
            _ => self.times,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_uses_leases_up_soon_gets_larger_ones_and_smaller_ones_again() {
        let mut now = Instant::now();
        let mut appetite = Appetite::default();
        let mut after = |wait: Duration| {
            now += wait;
            let times = appetite.times();
            appetite.lent(now);
            times
        };
        let millis = Duration::from_millis;
        let grown: Vec<i64> = (0..7).map(|_| after(millis(100))).collect();
        assert_eq!(grown, [1, 1, 2, 4, 8, 16, 16]);
        assert_eq!(after(millis(5_000)), 16);
        let shrunk: Vec<i64> = (0..6).map(|_| after(millis(11_000))).collect();
        assert_eq!(shrunk, [16, 8, 4, 2, 1, 1]);
    }
}
