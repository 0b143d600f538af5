use std::{collections::HashSet, sync::LazyLock};

use serde::Deserialize;

use crate::{Class, Personal};

/// Version of the number plan that is in force here.
pub const NUMBER_PLAN: &str = "2023-03";

/// Marks phone numbers.
#[derive(Debug)]
pub enum PhoneNumber {}

impl Class for PhoneNumber {
    const NAME: &'static str = "phone";
}

/// A mainland mobile number: 11 digits, of a segment that the number plan allots to people.
pub type Phone = Personal<PhoneNumber>;

/// It is not a mainland mobile number. The text does not show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a mobile number of mainland China")]
pub struct InvalidPhone;

/// Source: parameters 4.2; replaced as a whole by a newer file.
static PLAN: LazyLock<Plan> = LazyLock::new(|| {
    let text = include_str!("../data/number-plan-2023-03.json");
    serde_json::from_str(text).expect("the embedded number plan is well-formed")
});

#[derive(Deserialize)]
struct Plan {
    digits: usize,
    segments: HashSet<String>,
    excluded: Vec<String>,
}

impl Phone {
    /// Reads a number: 11 digits, with `+86` before them or not, and nothing else.
    ///
    /// # Errors
    /// When it is something else, or of a segment that is not allotted to people.
    pub fn parse(text: &str) -> Result<Self, InvalidPhone> {
        let digits = text.strip_prefix("+86").unwrap_or(text);
        let sound = digits.len() == PLAN.digits
            && digits.bytes().all(|byte| byte.is_ascii_digit())
            && PLAN.segments.contains(&digits[..3])
            && !PLAN
                .excluded
                .iter()
                .any(|prefix| digits.starts_with(prefix));
        if sound {
            Ok(Self::new(digits.to_owned()))
        } else {
            Err(InvalidPhone)
        }
    }

    /// The number as the international network writes it: `+86` and 11 digits.
    #[must_use]
    pub fn expose_international(&self) -> String {
        format!("+86{}", self.expose())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The pattern of parameters 4.2, written out independently of the data file.
    fn allotted(segment: u32) -> bool {
        matches!(segment,
            130..=139 | 145..=149 | 150..=153 | 155..=159 | 162 | 165..=167
            | 170..=173 | 175..=178 | 180..=189 | 190..=193 | 195..=199)
    }

    #[test]
    fn exactly_the_allotted_segments_are_accepted() {
        for segment in 0..1000 {
            let number = format!("{segment:03}50001234");
            assert_eq!(
                Phone::parse(&number).is_ok(),
                allotted(segment),
                "{segment}"
            );
        }
        assert!(Phone::parse("13490001234").is_err(), "satellite");
        assert!(Phone::parse("13480001234").is_ok());
        assert_eq!(
            PLAN.segments.len(),
            (0..1000).filter(|n| allotted(*n)).count()
        );
    }

    #[test]
    fn one_number_has_one_form() {
        let phone = Phone::parse("+8613800138000").unwrap();
        assert_eq!(phone.expose(), "13800138000");
        assert_eq!(phone, Phone::parse("13800138000").unwrap());
        assert_eq!(phone.expose_international(), "+8613800138000");
    }

    #[test]
    fn other_spellings_and_countries_are_refused() {
        let wrong = [
            "",
            "1380013800",
            "138001380000",
            "138 0013 8000",
            "138-0013-8000",
            "+85291234567",
            "8613800138000",
            "008613800138000",
            "1380013800a",
            "１３８００１３８０００",
            "+86+8613800138000",
        ];
        for text in wrong {
            assert_eq!(Phone::parse(text), Err(InvalidPhone), "{text}");
        }
    }

    #[test]
    fn it_shows_only_its_class() {
        assert_eq!(
            format!("{:?}", Phone::parse("13800138000").unwrap()),
            "[phone]"
        );
    }

    proptest! {
        #[test]
        fn no_text_breaks_it(text in "\\PC{0,40}") {
            let _ = Phone::parse(&text);
        }
    }
}
