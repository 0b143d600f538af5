//! The end of a customer's contract from our side (obligations T10.3a, T10.3b).

use chrono::{DateTime, Days, Duration, Utc};
use wanwu_proto::billing::v1 as pb;

use super::{money::NANOS_PER_FEN, provider_bill::china_date, reconciliation::day_bounds};

/// Days of notice; the day on which it is given does not count (Civil Code, article 201).
const NOTICE: Days = Days::new(30);
/// The furthest end that can be asked for.
const FURTHEST: Duration = Duration::days(366);

/// The earliest end of a contract whose notice is given at this instant: after the thirtieth day
/// that follows.
#[must_use]
pub fn earliest_end(noticed_at: DateTime<Utc>) -> DateTime<Utc> {
    day_bounds(china_date(noticed_at) + NOTICE).1
}

/// The latest end that can be asked for now.
#[must_use]
pub fn latest_end(now: DateTime<Utc>) -> DateTime<Utc> {
    now + FURTHEST
}

/// What goes back for an order, in fen: what was not provided of it, in whole fen for the customer's
/// good, and at most what was paid and not given back.
#[must_use]
pub fn compensation(paid_fen: i64, refunded_fen: i64, unspent_nanos: i64) -> i64 {
    let unspent_fen = unspent_nanos.max(0).div_euclid(NANOS_PER_FEN)
        + i64::from(unspent_nanos.max(0) % NANOS_PER_FEN > 0);
    unspent_fen.min(paid_fen - refunded_fen).max(0)
}

/// How far one is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Waits for a second operator.
    Requested,
    /// Notice is given.
    Noticed,
    /// The time is over; credit that is lent comes back first.
    Ending,
    /// Over; the compensations are on their way.
    Ended,
    /// Withdrawn.
    Withdrawn,
}

/// What happens to one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The second operator approves.
    Approve,
    /// An operator withdraws it.
    Withdraw,
    /// Its time is over.
    TimeOver,
    /// Nothing is lent any more.
    Settled,
}

impl State {
    /// Every state.
    pub const ALL: [Self; 5] = [
        Self::Requested,
        Self::Noticed,
        Self::Ending,
        Self::Ended,
        Self::Withdrawn,
    ];

    /// The state after an event; `None`: the event has no place here.
    #[must_use]
    pub const fn after(self, event: Event) -> Option<Self> {
        match (self, event) {
            (Self::Requested, Event::Approve) => Some(Self::Noticed),
            (Self::Requested | Self::Noticed, Event::Withdraw) => Some(Self::Withdrawn),
            (Self::Noticed, Event::TimeOver) => Some(Self::Ending),
            (Self::Ending, Event::Settled) => Some(Self::Ended),
            _ => None,
        }
    }

    /// As stored.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Requested => "requested",
            Self::Noticed => "noticed",
            Self::Ending => "ending",
            Self::Ended => "ended",
            Self::Withdrawn => "withdrawn",
        }
    }

    /// From the stored text.
    #[must_use]
    pub fn from_stored(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.as_str() == text)
    }
}

impl From<State> for pb::TerminationState {
    fn from(state: State) -> Self {
        match state {
            State::Requested => Self::Requested,
            State::Noticed => Self::Noticed,
            State::Ending => Self::Ending,
            State::Ended => Self::Ended,
            State::Withdrawn => Self::Withdrawn,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    #[test]
    fn thirty_whole_days_follow_the_day_of_the_notice() {
        // Noon and one minute to midnight of the 23rd in China: the 30th day after is 23 December.
        for noticed in ["2026-11-23T04:00:00Z", "2026-11-23T15:59:00Z"] {
            assert_eq!(earliest_end(at(noticed)), at("2026-12-23T16:00:00Z"));
        }
        let next_day = earliest_end(at("2026-11-23T16:00:00Z"));
        assert_eq!(next_day, at("2026-12-24T16:00:00Z"));
    }

    #[test]
    fn what_goes_back_is_what_was_not_provided() {
        for (paid, refunded, unspent, back) in [
            (1000, 0, 10_000_000_000, 1000),
            (1000, 0, 5_000_000_000, 500),
            (1000, 0, 5_000_000_001, 501),
            (1000, 0, 0, 0),
            (1000, 0, 1, 1),
            (1000, 600, 5_000_000_000, 400),
            (1000, 1000, 5_000_000_000, 0),
        ] {
            assert_eq!(compensation(paid, refunded, unspent), back);
        }
    }

    proptest! {
        #[test]
        fn never_more_goes_back_than_was_paid(
            paid in 0_i64..5_000_000,
            refunded in 0_i64..5_000_000,
            unspent in -1_000_000_i64..100_000_000_000_000,
        ) {
            let back = compensation(paid, refunded.min(paid), unspent);
            prop_assert!((0..=paid - refunded.min(paid)).contains(&back));
        }
    }
}
