//! What a guardian can allow a minor to buy (obligation T3.3.1c).

use chrono::{DateTime, Months, Utc};

/// The most that one order may cost, in fen: what an order can cost at all.
pub const MAX_ORDER_FEN: i64 = 5_000_000;
/// The most that the orders of a month may cost together, in fen.
pub const MAX_MONTH_FEN: i64 = 100_000_000;

/// What a guardian says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The most that one order may cost, in fen.
    pub order_fen: i64,
    /// The most that the orders of a calendar month may cost together, in fen.
    pub month_fen: i64,
    /// Until when.
    pub until: DateTime<Utc>,
}

/// The field that is not valid, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidLimit(pub &'static str, pub &'static str);

impl Limits {
    /// Whether these can be said now.
    pub fn check(&self, now: DateTime<Utc>) -> Result<(), InvalidLimit> {
        if !(0..=MAX_ORDER_FEN).contains(&self.order_fen) {
            return Err(InvalidLimit(
                "order_limit_fen",
                "is not from 0 to 5,000,000",
            ));
        }
        if !(self.order_fen..=MAX_MONTH_FEN).contains(&self.month_fen) {
            let what = "is less than order_limit_fen or more than 100,000,000";
            return Err(InvalidLimit("month_limit_fen", what));
        }
        if self.until <= now || self.until > now + Months::new(12) {
            return Err(InvalidLimit("until_time", "is not within a year from now"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    #[test]
    fn limits_are_bounded_and_end_within_a_year() {
        let now: DateTime<Utc> = "2026-11-23T04:00:00Z".parse().unwrap();
        let judge = |order_fen, month_fen, days| {
            let until = now + TimeDelta::days(days);
            let limits = Limits {
                order_fen,
                month_fen,
                until,
            };
            limits.check(now).map_err(|InvalidLimit(field, _)| field)
        };
        assert_eq!(judge(0, 0, 1), Ok(()));
        assert_eq!(judge(5_000_000, 100_000_000, 365), Ok(()));
        assert_eq!(judge(-1, 0, 1), Err("order_limit_fen"));
        assert_eq!(judge(5_000_001, 100_000_000, 1), Err("order_limit_fen"));
        assert_eq!(judge(100, 99, 1), Err("month_limit_fen"));
        assert_eq!(judge(100, 100_000_001, 1), Err("month_limit_fen"));
        assert_eq!(judge(100, 100, 0), Err("until_time"));
        assert_eq!(judge(100, 100, 366), Err("until_time"));
    }
}
