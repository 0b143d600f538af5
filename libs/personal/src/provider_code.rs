//! Codes of organisations: the unified social credit code (GB 32100-2015), and the 27-character
//! code of a provider in the label of generated content (TC260-PG-20252A). Public, not personal.

use std::{fmt, str::FromStr};

use crate::code_table::is_credit_code;

/// A unified social credit code: 18 characters with two checksums.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct UnifiedSocialCreditCode(String);

/// The provider's code in labels: `00`, `1` organisation, `1` by credit code, the credit code, `1`
/// generation or `2` propagation, and 4 characters for the model or application.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ProviderCode(String);

/// What a provider does with the content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProviderService {
    /// It generates it.
    Generation,
    /// It propagates it.
    Propagation,
}

/// It is not such a code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidCode {
    /// The credit code has another form or a wrong checksum.
    #[error("not a unified social credit code")]
    CreditCode,
    /// The provider code has another form.
    #[error("not a provider code of 27 characters")]
    ProviderCode,
    /// The last four characters are not digits and upper-case letters.
    #[error("the model part of a provider code is 4 of 0-9 and A-Z")]
    Model,
}

impl UnifiedSocialCreditCode {
    /// The 18 characters.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for UnifiedSocialCreditCode {
    type Err = InvalidCode;

    fn from_str(text: &str) -> Result<Self, InvalidCode> {
        if is_credit_code(text.as_bytes()) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidCode::CreditCode)
        }
    }
}

impl ProviderCode {
    /// The code of a provider with this credit code, for one model.
    ///
    /// # Errors
    /// When `model` is not 4 of `0-9` and `A-Z`.
    pub fn new(
        code: &UnifiedSocialCreditCode,
        service: ProviderService,
        model: &str,
    ) -> Result<Self, InvalidCode> {
        let service = match service {
            ProviderService::Generation => '1',
            ProviderService::Propagation => '2',
        };
        if is_model(model) {
            Ok(Self(format!("0011{}{service}{model}", code.as_str())))
        } else {
            Err(InvalidCode::Model)
        }
    }

    /// The 27 characters, of which the last 4 name the model.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ProviderCode {
    type Err = InvalidCode;

    fn from_str(text: &str) -> Result<Self, InvalidCode> {
        let rest = text
            .strip_prefix("0011")
            .filter(|_| text.len() == LENGTH && text.is_ascii());
        let rest = rest.ok_or(InvalidCode::ProviderCode)?;
        let (code, rest) = rest.split_at(18);
        let service = match &rest[..1] {
            "1" => ProviderService::Generation,
            "2" => ProviderService::Propagation,
            _ => return Err(InvalidCode::ProviderCode),
        };
        Self::new(&code.parse()?, service, &rest[1..])
    }
}

impl fmt::Display for ProviderCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// 2 + 1 + 1 + 18 + 1 + 4.
const LENGTH: usize = 27;

fn is_model(model: &str) -> bool {
    model.len() == 4
        && model
            .bytes()
            .all(|b| b.is_ascii_digit() || b.is_ascii_uppercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn real_credit_codes_hold_and_wrong_ones_do_not() {
        let real = [
            "91110000600037341L",
            "91440300708461136T",
            "91110102MAD55U9H0F",
        ];
        for code in real {
            assert!(code.parse::<UnifiedSocialCreditCode>().is_ok(), "{code}");
            for place in 0..18 {
                let mut wrong = code.as_bytes().to_vec();
                wrong[place] = if wrong[place] == b'1' { b'2' } else { b'1' };
                let wrong = String::from_utf8(wrong).unwrap();
                assert!(wrong.parse::<UnifiedSocialCreditCode>().is_err(), "{wrong}");
            }
        }
        for code in [
            "",
            "91110000600037341",
            "91110000600037341l",
            "万1110000600037341",
        ] {
            assert!(code.parse::<UnifiedSocialCreditCode>().is_err(), "{code}");
        }
    }

    #[test]
    fn provider_codes_of_public_files_are_read() {
        for code in ["001191440300708461136T1XGW3", "001191110102MAD55U9H0F10002"] {
            assert_eq!(code.parse::<ProviderCode>().unwrap().to_string(), code);
        }
    }

    #[test]
    fn other_provider_codes_are_refused() {
        let wrong = [
            "001191440300708461136T3XGW3",
            "001191440300708461136T1XGw3",
            "001191440300708461136A1XGW3",
            "011191440300708461136T1XGW3",
            "001191440300708461136T1XGW",
            "",
            "0011万91440300708461136T1XG",
        ];
        for code in wrong {
            assert!(code.parse::<ProviderCode>().is_err(), "{code}");
        }
    }
}
