//! Working days of mainland China: days of statutory holidays, and days that are worked in their place
//! (调休), as the State Council publishes them for a year. A term begins with the day after and ends with
//! its last day (Civil Code 201, 203).

use chrono::{DateTime, Datelike, Days, NaiveDate, Utc, Weekday};

use super::calendar;

/// A published year: weekdays without work, and weekends with it, as (month, day).
struct Year {
    year: i32,
    off: &'static [(u32, u32)],
    on: &'static [(u32, u32)],
}

/// Every year that is known, compared with PyPI `chinesecalendar` 1.11.0.
const YEARS: [Year; 2] = [
    Year {
        year: 2025,
        off: &[
            (1, 1),
            (1, 28),
            (1, 29),
            (1, 30),
            (1, 31),
            (2, 3),
            (2, 4),
            (4, 4),
            (5, 1),
            (5, 2),
            (5, 5),
            (6, 2),
            (10, 1),
            (10, 2),
            (10, 3),
            (10, 6),
            (10, 7),
            (10, 8),
        ],
        on: &[(1, 26), (2, 8), (4, 27), (9, 28), (10, 11)],
    },
    Year {
        year: 2026,
        off: &[
            (1, 1),
            (1, 2),
            (2, 16),
            (2, 17),
            (2, 18),
            (2, 19),
            (2, 20),
            (2, 23),
            (4, 6),
            (5, 1),
            (5, 4),
            (5, 5),
            (6, 19),
            (9, 25),
            (10, 1),
            (10, 2),
            (10, 5),
            (10, 6),
            (10, 7),
        ],
        on: &[(1, 4), (2, 14), (2, 28), (5, 9), (9, 20), (10, 10)],
    },
];

/// Where a term runs into a year that is not published: Monday to Friday, and so many days less, which
/// in 2010 to 2026 was never later than the true date.
const EARLIER: Days = Days::new(4);

/// When a term ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Term {
    /// The end of its last day.
    pub ends_at: DateTime<Utc>,
    /// A year that it runs into is not published yet: it may become later, never earlier.
    pub provisional: bool,
}

/// The term of so many working days after an instant.
#[must_use]
pub fn after(start: DateTime<Utc>, days: u32) -> Term {
    let start = calendar::day(start);
    let (last, provisional) = match count(start, days, works) {
        Some(last) => (last, false),
        None => {
            let weekdays = count(start, days, |day| Some(is_weekday(day)));
            let earlier = weekdays.map(|last| last - EARLIER);
            // Not before it begins.
            (
                earlier
                    .unwrap_or(start)
                    .max(start.succ_opt().unwrap_or(start)),
                true,
            )
        }
    };
    Term {
        ends_at: calendar::end(last),
        provisional,
    }
}

fn count(
    start: NaiveDate,
    days: u32,
    works: impl Fn(NaiveDate) -> Option<bool>,
) -> Option<NaiveDate> {
    let (mut day, mut left) = (start, days);
    while left > 0 {
        day = day.succ_opt()?;
        left -= u32::from(works(day)?);
    }
    Some(day)
}

/// Whether people work on a day; `None`: its year is not published.
fn works(day: NaiveDate) -> Option<bool> {
    let year = YEARS.iter().find(|year| year.year == day.year())?;
    let date = (day.month(), day.day());
    Some(match is_weekday(day) {
        true => !year.off.contains(&date),
        false => year.on.contains(&date),
    })
}

fn is_weekday(day: NaiveDate) -> bool {
    !matches!(day.weekday(), Weekday::Sat | Weekday::Sun)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The last day of a term that begins on a day at noon.
    fn last(day: &str, days: u32) -> (String, bool) {
        let start = format!("{day}T12:00:00+08:00")
            .parse::<DateTime<Utc>>()
            .unwrap();
        let term = after(start, days);
        let last = calendar::day(term.ends_at - chrono::TimeDelta::nanoseconds(1));
        assert_eq!(calendar::end(last), term.ends_at, "whole days");
        (last.to_string(), term.provisional)
    }

    #[test]
    fn terms_follow_the_published_calendar() {
        for (start, seven, fifteen) in [
            ("2026-02-06", "2026-02-24", "2026-03-05"),
            ("2026-02-13", "2026-03-02", "2026-03-12"),
            ("2026-04-20", "2026-04-29", "2026-05-13"),
            ("2026-09-15", "2026-09-23", "2026-10-12"),
            ("2026-09-21", "2026-10-08", "2026-10-19"),
        ] {
            assert_eq!(last(start, 7), (seven.to_owned(), false), "{start}");
            assert_eq!(last(start, 15), (fifteen.to_owned(), false), "{start}");
        }
    }

    #[test]
    fn a_term_into_a_year_that_is_not_published_is_provisional_and_early() {
        assert_eq!(last("2026-12-22", 7), ("2026-12-31".to_owned(), false));
        assert_eq!(last("2026-12-23", 7), ("2026-12-28".to_owned(), true));
        assert_eq!(last("2026-12-31", 1), ("2027-01-01".to_owned(), true));
    }
}
