use chrono::NaiveDate;

use crate::{Class, Personal};

/// GB 11643: weight of each of the first 17 digits.
const WEIGHTS: [u32; 17] = [7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2];
/// GB 11643: check character for each remainder of 11.
const CHECK: [u8; 11] = *b"10X98765432";
/// Nobody with a card was born earlier.
const FIRST_YEAR: i32 = 1880;

/// Marks numbers of resident identity cards.
#[derive(Debug)]
pub enum ResidentIdNumber {}

impl Class for ResidentIdNumber {
    const NAME: &'static str = "resident id";
}

/// The number of a resident identity card (GB 11643), its letter in upper case. The region is not
/// looked at, since historic ones stay valid; the sex in digit 17 is not read.
pub type ResidentId = Personal<ResidentIdNumber>;

/// Why it is not the number of a resident. The texts do not show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidResidentId {
    /// Not 17 digits and a digit or X.
    #[error("not 18 characters of a resident identity number")]
    Form,
    /// The check character is another.
    #[error("the check character of the resident identity number is wrong")]
    Checksum,
    /// There is no such day, or it is not past.
    #[error("the resident identity number holds no possible birth date")]
    BirthDate,
}

impl ResidentId {
    /// Reads a number; `today` is the date in Asia/Shanghai.
    ///
    /// # Errors
    /// When the form, the check character or the birth date is wrong.
    pub fn parse(text: &str, today: NaiveDate) -> Result<Self, InvalidResidentId> {
        let number = text.to_ascii_uppercase();
        let (digits, check) = match number.as_bytes() {
            bytes if bytes.len() == 18 => bytes.split_at(17),
            _ => return Err(InvalidResidentId::Form),
        };
        let sound_check = check[0].is_ascii_digit() || check[0] == b'X';
        if !digits.iter().all(u8::is_ascii_digit) || !sound_check || digits[0] == b'0' {
            return Err(InvalidResidentId::Form);
        }
        let born = birth_date(&number).ok_or(InvalidResidentId::BirthDate)?;
        if born > today || born < first_date() {
            return Err(InvalidResidentId::BirthDate);
        }
        if check[0] != check_character(digits) {
            return Err(InvalidResidentId::Checksum);
        }
        Ok(Self::new(number))
    }

    /// The day of birth.
    #[must_use]
    pub fn birth_date(&self) -> NaiveDate {
        birth_date(self.expose()).expect("parse looked at it")
    }
}

fn birth_date(number: &str) -> Option<NaiveDate> {
    NaiveDate::parse_from_str(number.get(6..14)?, "%Y%m%d").ok()
}

fn first_date() -> NaiveDate {
    NaiveDate::from_ymd_opt(FIRST_YEAR, 1, 1).expect("there was such a day")
}

fn check_character(digits: &[u8]) -> u8 {
    let sum: u32 = digits
        .iter()
        .zip(WEIGHTS)
        .map(|(d, weight)| u32::from(d - b'0') * weight)
        .sum();
    CHECK[(sum % 11) as usize]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn day(year: i32, month: u32, day: u32) -> NaiveDate {
        NaiveDate::from_ymd_opt(year, month, day).unwrap()
    }

    fn today() -> NaiveDate {
        day(2026, 11, 23)
    }

    fn with_check(digits: &str) -> String {
        format!("{digits}{}", check_character(digits.as_bytes()) as char)
    }

    #[test]
    fn the_standards_example_is_accepted() {
        let id = ResidentId::parse("11010519491231002x", today()).unwrap();
        assert_eq!(id.expose(), "11010519491231002X");
        assert_eq!(id.birth_date(), day(1949, 12, 31));
        assert_eq!(format!("{id:?}"), "[resident id]");
    }

    #[test]
    fn the_future_and_days_that_never_were_are_refused() {
        let cases = [
            (with_check("11010520261123002"), true),
            (with_check("11010520261124002"), false),
            (with_check("11010520240229002"), true),
            (with_check("11010520250229002"), false),
            (with_check("11010518791231002"), false),
            (with_check("11010520261301002"), false),
        ];
        for (number, accepted) in cases {
            let result = ResidentId::parse(&number, today());
            match accepted {
                true => assert!(result.is_ok(), "{number}"),
                false => assert_eq!(result, Err(InvalidResidentId::BirthDate), "{number}"),
            }
        }
    }

    #[test]
    fn other_forms_are_refused() {
        for text in [
            "",
            "110105491231002",
            "1101051949123100 2X",
            "X1010519491231002X",
            "１1010519491231",
        ] {
            assert_eq!(
                ResidentId::parse(text, today()),
                Err(InvalidResidentId::Form),
                "{text}"
            );
        }
    }

    proptest! {
        #[test]
        fn every_sound_number_is_accepted_and_no_single_error(
            region in 110_000_u32..660_000,
            days in 0_i64..50_000,
            order in 0_u32..1000,
            place in 0_usize..17,
            other in 1_u8..10,
        ) {
            let born = day(1885, 1, 1) + chrono::Duration::days(days);
            let number = with_check(&format!("{region}{}{order:03}", born.format("%Y%m%d")));
            prop_assert_eq!(ResidentId::parse(&number, today()).unwrap().birth_date(), born);
            let mut wrong = number.into_bytes();
            wrong[place] = b'0' + (wrong[place] - b'0' + other) % 10;
            let wrong = String::from_utf8(wrong).unwrap();
            prop_assert!(ResidentId::parse(&wrong, today()).is_err());
        }

        #[test]
        fn no_text_breaks_it(text in "\\PC{0,40}") {
            let _ = ResidentId::parse(&text, today());
        }
    }
}
