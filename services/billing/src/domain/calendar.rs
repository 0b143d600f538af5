//! Days and months in Asia/Shanghai, which has had one offset since 1991.

use chrono::{DateTime, Datelike, Days, FixedOffset, Months, NaiveDate, NaiveTime, TimeZone, Utc};

const ZONE: FixedOffset = FixedOffset::east_opt(8 * 3600).expect("eight hours are an offset");

/// The day of an instant.
#[must_use]
pub fn day(at: DateTime<Utc>) -> NaiveDate {
    at.with_timezone(&ZONE).date_naive()
}

/// When a day begins.
#[must_use]
pub fn begin(day: NaiveDate) -> DateTime<Utc> {
    let begin = ZONE.from_local_datetime(&day.and_time(NaiveTime::MIN));
    begin
        .single()
        .map_or(DateTime::UNIX_EPOCH, |at| at.to_utc())
}

/// When a day is over.
#[must_use]
pub fn end(day: NaiveDate) -> DateTime<Utc> {
    begin(day + Days::new(1))
}

/// The first day of a day's month.
#[must_use]
pub fn month(day: NaiveDate) -> NaiveDate {
    day.with_day(1).unwrap_or(day)
}

/// The first day of the month after a day's.
#[must_use]
pub fn next_month(day: NaiveDate) -> NaiveDate {
    month(day) + Months::new(1)
}

/// A day as contracts write it: 2026-11-01.
#[must_use]
pub fn parse(text: &str) -> Option<NaiveDate> {
    let day = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?;
    // One spelling, and years that the database has.
    ((2000..=9999).contains(&day.year()) && day.to_string() == text).then_some(day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_begins_and_ends_in_shanghai() {
        let at = |text: &str| text.parse::<DateTime<Utc>>().unwrap();
        for (instant, expected) in [
            ("2026-11-30T15:59:59.999999Z", "2026-11-30"),
            ("2026-11-30T16:00:00Z", "2026-12-01"),
            ("2026-12-31T16:00:00Z", "2027-01-01"),
        ] {
            assert_eq!(day(at(instant)).to_string(), expected);
        }
        let last = parse("2026-12-31").unwrap();
        assert_eq!(begin(last), at("2026-12-30T16:00:00Z"));
        assert_eq!(end(last), at("2026-12-31T16:00:00Z"));
        assert_eq!(month(last).to_string(), "2026-12-01");
        assert_eq!(next_month(last).to_string(), "2027-01-01");
    }

    #[test]
    fn a_day_has_one_spelling() {
        for text in [
            "2026-2-1",
            "2026-02-30",
            "02026-02-01",
            "1999-12-31",
            "",
            "x",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
