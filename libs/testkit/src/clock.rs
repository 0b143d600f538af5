use chrono::{DateTime, Utc};
use wanwu_clock::TestClock;

/// 2026-11-23 12:00:00 in Asia/Shanghai, a Monday.
pub const START: DateTime<Utc> =
    DateTime::from_timestamp(1_795_406_400, 0).expect("the time is in range");

/// A clock that stands at [`START`] until the test moves it.
#[must_use]
pub fn test_clock() -> TestClock {
    TestClock::new(START)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_start_at_a_known_noon() {
        assert_eq!(START.to_rfc3339(), "2026-11-23T04:00:00+00:00");
    }
}
