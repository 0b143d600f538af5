//! What a minor may buy, as an order or by bank: what a guardian allowed, and nothing else (obligation T3.3.1c; Civil Code 19
//! and 22).

use chrono::{DateTime, Utc};

/// Who orders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Buyer {
    /// An adult, verified.
    Adult,
    /// Somebody of 8 to 17 years.
    Minor,
}

/// What a guardian allows, until when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowance {
    /// Which word of the guardian.
    pub version: i64,
    /// The most that one order may cost, in fen.
    pub order_limit_fen: i64,
    /// The most that the orders of a calendar month may cost together, in fen.
    pub month_limit_fen: i64,
    /// Until when.
    pub until: DateTime<Utc>,
}

/// Why an order is not covered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotAllowed {
    /// A guardian said nothing.
    Nothing,
    /// The time is over.
    Time,
    /// The order costs more than one may.
    Order,
    /// The month's orders would cost more than they may.
    Month,
}

impl NotAllowed {
    /// Its name on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Nothing => "none",
            Self::Time => "time",
            Self::Order => "order",
            Self::Month => "month",
        }
    }
}

impl Allowance {
    /// Whether an order or a bank transfer is covered; `bought_fen`: the month's others.
    pub fn covers(
        &self,
        amount_fen: i64,
        bought_fen: i64,
        now: DateTime<Utc>,
    ) -> Result<(), NotAllowed> {
        if self.until <= now {
            return Err(NotAllowed::Time);
        }
        if amount_fen > self.order_limit_fen {
            return Err(NotAllowed::Order);
        }
        if bought_fen.saturating_add(amount_fen) > self.month_limit_fen {
            return Err(NotAllowed::Month);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_is_covered_up_to_each_limit_and_not_beyond() {
        let now: DateTime<Utc> = "2026-11-23T04:00:00Z".parse().unwrap();
        let allowance = Allowance {
            version: 1,
            order_limit_fen: 100,
            month_limit_fen: 250,
            until: now + chrono::TimeDelta::seconds(1),
        };
        assert_eq!(allowance.covers(100, 150, now), Ok(()));
        assert_eq!(allowance.covers(101, 0, now), Err(NotAllowed::Order));
        assert_eq!(allowance.covers(100, 151, now), Err(NotAllowed::Month));
        assert_eq!(
            allowance.covers(1, i64::MAX, now),
            Err(NotAllowed::Month),
            "sums do not wrap"
        );
        assert_eq!(
            allowance.covers(1, 0, allowance.until),
            Err(NotAllowed::Time)
        );
    }
}
