//! How far below zero an enterprise may go, what it owes, and when that is due.

use chrono::{DateTime, Datelike, Duration, NaiveDate, Utc};
use wanwu_personal::Uscc;

use super::calendar;

/// What is owed at the end of a month is due with the end of this day of the next.
const DUE_DAY: u32 = 20;
/// The furthest end of a limit that can be asked for: three years.
const FURTHEST: Duration = Duration::days(3 * 366);
/// What the codes of persons' businesses begin with (GB 32100: registered as an enterprise is, `9`, kind
/// individual business, `2`).
const PERSONS_BUSINESS: &str = "92";

/// What stands in the row of a balance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limit {
    /// How far below zero the balance may go, in 10^-9 CNY.
    pub nanos: i64,
    /// When it ends; `None`: there is none.
    pub ends_at: Option<DateTime<Utc>>,
}

impl Limit {
    /// How far below zero at an instant.
    #[must_use]
    pub fn at(self, now: DateTime<Utc>) -> i64 {
        match self.ends_at {
            Some(ends_at) if now < ends_at => self.nanos,
            _ => 0,
        }
    }
}

/// What was owed at the end of a month.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    /// In 10^-9 CNY.
    pub owed: i64,
    /// What was paid since.
    pub paid: i64,
    /// Until when.
    pub due_at: DateTime<Utc>,
}

impl Due {
    /// What is not paid: money that comes pays what is oldest.
    #[must_use]
    pub fn left(&self) -> i64 {
        (self.owed - self.paid).max(0)
    }
}

/// What an enterprise is told of a month that it owes of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reminder {
    /// What is owed, and until when.
    Due,
    /// The time is over and something is not paid.
    Overdue,
    /// The time is over and everything was paid: nothing is said.
    Paid,
}

impl Reminder {
    /// When the time is over and so much is not paid.
    #[must_use]
    pub const fn after_the_date(left: i64) -> Self {
        if left > 0 { Self::Overdue } else { Self::Paid }
    }

    /// As stored.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Due => "due",
            Self::Overdue => "overdue",
            Self::Paid => "paid",
        }
    }

    /// The message; `None`: none.
    #[must_use]
    pub const fn template(self) -> Option<&'static str> {
        match self {
            Self::Due => Some("credit_due"),
            Self::Overdue => Some("credit_overdue"),
            Self::Paid => None,
        }
    }
}

/// What is overdue. What was owed at the end of one month is in the next one's, so the months do not add
/// up.
#[must_use]
pub fn overdue(dues: &[Due], now: DateTime<Utc>) -> i64 {
    let past = dues.iter().filter(|due| due.due_at <= now);
    past.map(Due::left).max().unwrap_or_default()
}

/// What is owed: what was used beyond what was paid. What is lent is not used yet.
#[must_use]
pub fn owed(available: i64, leased: i64) -> i64 {
    available.saturating_add(leased).saturating_neg().max(0)
}

/// When what is owed at the end of a day's month is due.
#[must_use]
pub fn due_at(day: NaiveDate) -> DateTime<Utc> {
    let next = calendar::next_month(day);
    calendar::end(next.with_day(DUE_DAY).unwrap_or(next))
}

/// When the oldest of what is owed is due; `None`: nothing is owed.
#[must_use]
pub fn next_due(dues: &[Due], owed: i64, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let open = dues.iter().filter(|due| due.left() > 0);
    let oldest = open.map(|due| due.due_at).min();
    oldest.or_else(|| (owed > 0).then(|| due_at(calendar::day(now))))
}

/// The latest end of a limit that can be asked for now.
#[must_use]
pub fn latest_end(now: DateTime<Utc>) -> DateTime<Utc> {
    now + FURTHEST
}

/// The code is an organisation's and not of one person's business.
#[must_use]
pub fn is_enterprise(uscc: &Uscc) -> bool {
    !uscc.expose().starts_with(PERSONS_BUSINESS)
}

/// How far a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Waits for a second operator.
    Requested,
    /// The limit came into force.
    Approved,
    /// Withdrawn.
    Withdrawn,
}

impl State {
    /// Every state.
    pub const ALL: [Self; 3] = [Self::Requested, Self::Approved, Self::Withdrawn];

    /// As stored.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Requested => "requested",
            Self::Approved => "approved",
            Self::Withdrawn => "withdrawn",
        }
    }

    /// From the stored text.
    #[must_use]
    pub fn from_stored(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.as_str() == text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    #[test]
    fn what_a_month_leaves_is_due_with_the_end_of_the_20th_of_the_next() {
        for (day, due) in [
            ("2026-11-01", "2026-12-20T16:00:00Z"),
            ("2026-11-30", "2026-12-20T16:00:00Z"),
            ("2026-12-31", "2027-01-20T16:00:00Z"),
        ] {
            assert_eq!(due_at(calendar::parse(day).unwrap()), at(due), "{day}");
        }
    }

    #[test]
    fn a_limit_ends_at_its_end() {
        let end = at("2026-12-01T00:00:00Z");
        let limit = Limit {
            nanos: 7,
            ends_at: Some(end),
        };
        assert_eq!(limit.at(end - Duration::microseconds(1)), 7);
        assert_eq!(limit.at(end), 0);
        assert_eq!(Limit::default().at(end), 0);
    }

    #[test]
    fn what_is_lent_is_not_owed() {
        for (available, leased, expected) in [(5, 0, 0), (-5, 0, 5), (-5, 3, 2), (-5, 9, 0)] {
            assert_eq!(owed(available, leased), expected);
        }
    }

    #[test]
    fn money_pays_the_oldest_month_and_the_months_do_not_add_up() {
        let (november, december) = (at("2026-12-20T16:00:00Z"), at("2027-01-20T16:00:00Z"));
        let due = |owed, paid, due_at| Due { owed, paid, due_at };
        let none_paid = [due(10, 0, november), due(15, 0, december)];
        for (now, expected) in [
            ("2026-12-20T15:59:59Z", 0),
            ("2026-12-20T16:00:00Z", 10),
            ("2027-01-20T16:00:00Z", 15),
        ] {
            assert_eq!(overdue(&none_paid, at(now)), expected, "{now}");
        }
        assert_eq!(next_due(&none_paid, 15, november), Some(november));
        // 10 came in December: November is paid, and what December left is 5.
        let paid = [due(10, 10, november), due(5, 0, december)];
        assert_eq!(overdue(&paid, at("2027-01-20T15:00:00Z")), 0);
        assert_eq!(next_due(&paid, 5, november), Some(december));
        let now = at("2027-02-01T00:00:00Z");
        assert_eq!(next_due(&[], 5, now), Some(at("2027-03-20T16:00:00Z")));
        assert_eq!(next_due(&[], 0, now), None);
    }

    #[test]
    fn persons_and_their_businesses_are_no_enterprises() {
        let enterprise = Uscc::parse("91110000600037341L").unwrap();
        assert!(is_enterprise(&enterprise));
        let business = Uscc::parse("92110000600037341H");
        assert!(!is_enterprise(&business.unwrap()));
    }
}
