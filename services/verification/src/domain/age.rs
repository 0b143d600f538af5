use chrono::{Datelike, NaiveDate};
use wanwu_proto::verification::v1::AgeBand;

/// The age band of a person born on `birth` as of `today`, both dates of Asia/Shanghai. An age is
/// reached on the birthday (Civil Code 17-20, 200-204); who was born on 29 February reaches it on
/// 1 March in other years.
#[must_use]
pub fn band(birth: NaiveDate, today: NaiveDate) -> AgeBand {
    let had_birthday = (today.month(), today.day()) >= (birth.month(), birth.day());
    let age = today.year() - birth.year() - i32::from(!had_birthday);
    match age {
        ..8 => AgeBand::Under8,
        8..14 => AgeBand::AgeBand8To13,
        14..18 => AgeBand::AgeBand14To17,
        18.. => AgeBand::Adult,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_band_begins_on_the_birthday() {
        let day = |text: &str| text.parse::<NaiveDate>().unwrap();
        for (birth, today, expected) in [
            ("2018-11-24", "2026-11-23", AgeBand::Under8),
            ("2018-11-23", "2026-11-23", AgeBand::AgeBand8To13),
            ("2012-11-24", "2026-11-23", AgeBand::AgeBand8To13),
            ("2012-11-23", "2026-11-23", AgeBand::AgeBand14To17),
            ("2008-11-24", "2026-11-23", AgeBand::AgeBand14To17),
            ("2008-11-23", "2026-11-23", AgeBand::Adult),
            ("2008-02-29", "2026-02-28", AgeBand::AgeBand14To17),
            ("2008-02-29", "2026-03-01", AgeBand::Adult),
            ("1949-12-31", "2026-11-23", AgeBand::Adult),
        ] {
            assert_eq!(band(day(birth), day(today)), expected, "{birth} on {today}");
        }
    }
}
