use crate::{Class, Personal};

/// GB 32100: the characters in the order of their values; no I, O, S, V, Z.
const ALPHABET: &[u8; 31] = b"0123456789ABCDEFGHJKLMNPQRTUWXY";
/// GB 32100: weight of each of the first 17 characters, 3^i modulo 31.
const WEIGHTS: [u32; 17] = [
    1, 3, 9, 27, 19, 26, 16, 17, 20, 29, 25, 13, 8, 24, 10, 30, 28,
];
/// GB 11714: weight of each of the eight characters of an organisation's code.
const ORGANISATION_WEIGHTS: [u32; 8] = [3, 7, 9, 10, 5, 8, 4, 2];

/// Marks unified social credit codes.
#[derive(Debug)]
pub enum UnifiedSocialCreditCode {}

impl Class for UnifiedSocialCreditCode {
    const NAME: &'static str = "uscc";
}

/// An organisation's unified social credit code (GB 32100-2015). Some belong to one person's
/// business, so it is treated as personal.
pub type Uscc = Personal<UnifiedSocialCreditCode>;

/// Why it is not the code of an organisation. The texts do not show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidUscc {
    /// Not 18 of the 31 characters, or no region in its place.
    #[error("not 18 characters of a unified social credit code")]
    Form,
    /// The last character is another.
    #[error("the check character of the unified social credit code is wrong")]
    Checksum,
    /// The organisation's code inside has another check character.
    #[error("the check character of the organisation's code inside is wrong")]
    Organisation,
}

impl Uscc {
    /// Reads a code; small letters become capitals.
    ///
    /// # Errors
    /// When the form or one of the two check characters is wrong.
    pub fn parse(text: &str) -> Result<Self, InvalidUscc> {
        let code = text.trim().to_ascii_uppercase();
        let values: Option<Vec<u32>> = code.bytes().map(value).collect();
        let values = values.filter(|values| values.len() == 18);
        let values = values.ok_or(InvalidUscc::Form)?;
        // Registering department, kind, and the six digits of a region.
        if values[2..8].iter().any(|value| *value > 9) {
            return Err(InvalidUscc::Form);
        }
        if values[17] != check(&values[..17]) {
            return Err(InvalidUscc::Checksum);
        }
        let code_bytes = code.as_bytes();
        if code_bytes[16] != organisation_check(&code_bytes[8..16]) {
            return Err(InvalidUscc::Organisation);
        }
        Ok(Self::new(code))
    }
}

fn value(character: u8) -> Option<u32> {
    let place = ALPHABET.iter().position(|known| *known == character)?;
    u32::try_from(place).ok()
}

/// The trap: without the outer remainder a sum that 31 divides would ask for a character 31.
fn check(values: &[u32]) -> u32 {
    let sum: u32 = values
        .iter()
        .zip(WEIGHTS)
        .map(|(v, weight)| v * weight)
        .sum();
    (31 - sum % 31) % 31
}

/// GB 11714 counts letters from A = 10 without leaving any out.
fn organisation_check(characters: &[u8]) -> u8 {
    let value = |character: u8| match character {
        b'0'..=b'9' => u32::from(character - b'0'),
        letter => u32::from(letter - b'A') + 10,
    };
    let weighted = characters.iter().zip(ORGANISATION_WEIGHTS);
    let sum: u32 = weighted.map(|(c, weight)| value(*c) * weight).sum();
    match 11 - sum % 11 {
        10 => b'X',
        11 => b'0',
        digit => b'0' + u8::try_from(digit).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A code with both check characters right.
    fn code(region: u32, organisation: &str) -> String {
        let inner = organisation_check(organisation.as_bytes()) as char;
        let first = format!("91{region:06}{organisation}{inner}");
        let values: Vec<u32> = first.bytes().map(|b| value(b).unwrap()).collect();
        let last = ALPHABET[check(&values) as usize] as char;
        format!("{first}{last}")
    }

    #[test]
    fn a_known_code_is_accepted() {
        let code = Uscc::parse("91110000600037341l").unwrap();
        assert_eq!(code.expose(), "91110000600037341L");
        assert_eq!(format!("{code:?}"), "[uscc]");
    }

    #[test]
    fn a_sum_that_31_divides_has_the_check_character_0() {
        let found = (0..100_000).map(|n| code(110_000, &format!("{n:08}")));
        let mut found = found.filter(|code| code.ends_with('0'));
        let trap = found.next().unwrap();
        assert!(Uscc::parse(&trap).is_ok(), "{trap}");
    }

    #[test]
    fn wrong_forms_and_both_check_characters_are_refused() {
        let good = "91110000600037341L";
        for (text, why) in [
            ("", InvalidUscc::Form),
            ("9111000060003734", InvalidUscc::Form),
            ("91110000600037341LL", InvalidUscc::Form),
            ("9111000060003734IL", InvalidUscc::Form),
            ("91A10000600037341L", InvalidUscc::Form),
            ("91110000600037341M", InvalidUscc::Checksum),
        ] {
            assert_eq!(Uscc::parse(text), Err(why), "{text}");
        }
        // The outer check character is made right again; the inner one stays wrong.
        let mut values: Vec<u32> = good.bytes().map(|b| value(b).unwrap()).collect();
        values[16] = 2;
        values[17] = check(&values[..17]);
        let wrong: String = values
            .iter()
            .map(|v| ALPHABET[*v as usize] as char)
            .collect();
        assert_eq!(
            Uscc::parse(&wrong),
            Err(InvalidUscc::Organisation),
            "{wrong}"
        );
    }

    proptest! {
        #[test]
        fn every_sound_code_is_accepted_and_no_single_error(
            region in 110_000_u32..660_000,
            organisation in "[0-9A-HJ-NPQRTUWXY]{8}",
            place in 0_usize..18,
            other in 1_u32..31,
        ) {
            // The inner check character must be one of the outer alphabet too.
            let sound = code(region, &organisation);
            prop_assert!(Uscc::parse(&sound).is_ok(), "{}", sound);
            let mut wrong = sound.into_bytes();
            let now = value(wrong[place]).unwrap();
            wrong[place] = ALPHABET[((now + other) % 31) as usize];
            let wrong = String::from_utf8(wrong).unwrap();
            prop_assert!(Uscc::parse(&wrong).is_err(), "{}", wrong);
        }

        #[test]
        fn no_text_breaks_it(text in "\\PC{0,40}") {
            let _ = Uscc::parse(&text);
        }
    }
}
