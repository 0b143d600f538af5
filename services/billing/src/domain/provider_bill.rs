//! When which bill of a provider is fetched.

use chrono::{DateTime, Days, Duration, FixedOffset, NaiveDate, Utc};

use super::reconciliation::day_bounds;

/// How long after the end of its day a bill is there: ten in the morning in China.
const READY: Duration = Duration::hours(10);
/// How long the word of a provider that it has no bill is not believed: it may only be late.
const LATE: Duration = Duration::hours(24);
/// The furthest back: providers keep bills for three months.
const KEPT: Days = Days::new(89);

/// When the bill of a day can be fetched.
#[must_use]
pub fn due_at(day: NaiveDate) -> DateTime<Utc> {
    day_bounds(day).1 + READY
}

/// A provider that has no bill of this day had no payment on it.
#[must_use]
pub fn is_empty_at(day: NaiveDate, now: DateTime<Utc>) -> bool {
    now >= due_at(day) + LATE
}

/// The date in China.
#[must_use]
pub fn china_date(at: DateTime<Utc>) -> NaiveDate {
    let zone = FixedOffset::east_opt(8 * 3600).expect("eight hours are an offset");
    at.with_timezone(&zone).date_naive()
}

/// The days whose bills are due by now, known or not: from the first one that is known or had a
/// payment on, else the day that ended last.
#[must_use]
pub fn due_days(
    first_known: Option<NaiveDate>,
    first_payment: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
) -> Vec<NaiveDate> {
    let last = china_date(now - READY) - Days::new(1);
    let first_paid = first_payment.map(china_date);
    let first = first_known.into_iter().chain(first_paid).min();
    let first = first.unwrap_or(last).max(last - KEPT);
    first.iter_days().take_while(|day| *day <= last).collect()
}

/// When a provider that had no bill is asked again: after 5, 10, 20 ... minutes, at most every hour.
#[must_use]
pub fn next_try(now: DateTime<Utc>, tries: i32) -> DateTime<Utc> {
    let minutes = 5_i64 << tries.clamp(0, 10);
    now + Duration::minutes(minutes.min(60))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(day: u32) -> NaiveDate {
        NaiveDate::from_ymd_opt(2026, 11, day).unwrap()
    }

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    #[test]
    fn a_bill_is_due_at_ten_the_next_morning_in_china() {
        assert_eq!(due_at(day(23)), at("2026-11-24T02:00:00Z"));
        let before = due_days(Some(day(22)), None, at("2026-11-24T01:59:59Z"));
        assert_eq!(before, [day(22)]);
        let after = due_days(Some(day(22)), None, at("2026-11-24T02:00:00Z"));
        assert_eq!(after, [day(22), day(23)]);
        assert!(!is_empty_at(day(23), at("2026-11-25T01:59:59Z")));
        assert!(is_empty_at(day(23), at("2026-11-25T02:00:00Z")));
    }

    #[test]
    fn days_that_were_missed_are_fetched_after_all() {
        let now = at("2026-11-24T03:00:00Z");
        assert_eq!(
            due_days(Some(day(21)), None, now),
            [day(21), day(22), day(23)]
        );
        assert_eq!(due_days(Some(day(24)), None, now), []);
        assert_eq!(due_days(None, None, now), [day(23)]);
        // 00:30 on the 22nd in China.
        let first = Some(at("2026-11-21T16:30:00Z"));
        assert_eq!(due_days(None, first, now), [day(22), day(23)]);
        assert_eq!(due_days(Some(day(23)), first, now), [day(22), day(23)]);
        let long_ago = due_days(None, Some(at("2025-01-01T00:00:00Z")), now);
        assert_eq!(long_ago.len(), 90);
    }
}
