//! The label of AI-generated content: seven keys in a fixed order (GB 45438, TC260-PG-20252A).

use aws_lc_rs::hmac;
use wanwu_ids::CallId;

/// The code that is configured on a developer's machine: its checksums hold, its organisation
/// does not exist. Production refuses it.
pub const DEMONSTRATION_CODE: &str = "001192000000WANWUDEM9K1DEMO";

/// A provider's 27-character code: format `00`, organisation `1`, bound by credit code `1`,
/// unified social credit code (18), generation service `1`, model or app (4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProviderCode(String);

/// Why a provider code is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidProviderCode {
    /// Not 27 characters, or not of the fixed structure.
    #[error("a provider code is 0011, a unified social credit code, 1 and 4 of 0-9A-Z")]
    Structure,
    /// The check character of the credit code (GB 32100) is wrong.
    #[error("the check character of the unified social credit code is wrong")]
    CreditCode,
    /// The check character of the organisation code in it (GB 11714) is wrong.
    #[error("the check character of the organisation code is wrong")]
    OrganisationCode,
}

impl ProviderCode {
    /// Checks the structure and both check characters.
    pub fn parse(text: &str) -> Result<Self, InvalidProviderCode> {
        let structured = text.len() == 27
            && text.starts_with("0011")
            && text.as_bytes()[22] == b'1'
            && is_route(&text[23..]);
        if !structured {
            return Err(InvalidProviderCode::Structure);
        }
        let credit = &text[4..22];
        if credit_check(&credit[..17]) != credit.chars().last() {
            return Err(InvalidProviderCode::CreditCode);
        }
        if organisation_check(&credit[8..16]) != credit.chars().nth(16) {
            return Err(InvalidProviderCode::OrganisationCode);
        }
        Ok(Self(text.to_owned()))
    }

    /// The code with its last four characters naming a model's route; `route` must be four of
    /// `0-9A-Z`, else the code stays as it is.
    #[must_use]
    pub fn for_route(&self, route: &str) -> Self {
        if is_route(route) {
            Self(format!("{}{route}", &self.0[..23]))
        } else {
            self.clone()
        }
    }

    /// The demonstration code, whatever its route.
    #[must_use]
    pub fn is_demonstration(&self) -> bool {
        self.0[..23] == DEMONSTRATION_CODE[..23]
    }
}

/// Four characters of `0-9A-Z`.
#[must_use]
pub fn is_route(text: &str) -> bool {
    text.len() == 4
        && text
            .bytes()
            .all(|b| b.is_ascii_digit() || b.is_ascii_uppercase())
}

/// The check character of a unified social credit code from its first 17.
fn credit_check(body: &str) -> Option<char> {
    const ALPHABET: &str = "0123456789ABCDEFGHJKLMNPQRTUWXY";
    const WEIGHTS: [usize; 17] = [
        1, 3, 9, 27, 19, 26, 16, 17, 20, 29, 25, 13, 8, 24, 10, 30, 28,
    ];
    let mut sum = 0;
    for (character, weight) in body.chars().zip(WEIGHTS) {
        sum += ALPHABET.find(character)? * weight;
    }
    ALPHABET.chars().nth((31 - sum % 31) % 31)
}

/// The check character of an organisation code from its first 8.
fn organisation_check(body: &str) -> Option<char> {
    const WEIGHTS: [u32; 8] = [3, 7, 9, 10, 5, 8, 4, 2];
    let mut sum = 0;
    for (character, weight) in body.chars().zip(WEIGHTS) {
        sum += character.to_digit(36)? * weight;
    }
    match 11 - sum % 11 {
        10 => Some('X'),
        11 => Some('0'),
        digit => char::from_digit(digit, 10),
    }
}

/// Writes labels for one model.
#[derive(Clone, Debug)]
pub struct Labeller {
    producer: ProviderCode,
    integrity: Option<hmac::Key>,
}

impl Labeller {
    /// Labels name `producer`; with a key, `ReservedCode1` is HMAC-SHA-256 (hex) over
    /// `Label \n ContentProducer \n ProduceID`.
    #[must_use]
    pub const fn new(producer: ProviderCode, integrity: Option<hmac::Key>) -> Self {
        Self {
            producer,
            integrity,
        }
    }

    /// The label of one call: a JSON object, ASCII.
    #[must_use]
    pub fn label(&self, call: CallId) -> String {
        let producer = &self.producer.0;
        let reserved = self.integrity.as_ref().map_or_else(String::new, |key| {
            hex::encode(hmac::sign(key, format!("1\n{producer}\n{call}").as_bytes()))
        });
        format!(
            "{{\"Label\":\"1\",\"ContentProducer\":\"{producer}\",\"ProduceID\":\"{call}\",\
             \"ReservedCode1\":\"{reserved}\",\"ContentPropagator\":\"\",\"PropagateID\":\"\",\
             \"ReservedCode2\":\"\"}}"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn provider_codes_are_checked_twice() {
        let cases = [
            // Published codes of real providers.
            ("001191440300708461136T1XGW3", Ok(())),
            ("001191110102MAD55U9H0F10002", Ok(())),
            (DEMONSTRATION_CODE, Ok(())),
            ("", Err(InvalidProviderCode::Structure)),
            (
                "011191440300708461136T1XGW3",
                Err(InvalidProviderCode::Structure),
            ),
            (
                "001191440300708461136T2XGW3",
                Err(InvalidProviderCode::Structure),
            ),
            (
                "001191440300708461136T1xgw3",
                Err(InvalidProviderCode::Structure),
            ),
            (
                "001191440300708461136X1XGW3",
                Err(InvalidProviderCode::CreditCode),
            ),
            (
                "001191440300708461146T1XGW3",
                Err(InvalidProviderCode::CreditCode),
            ),
            (
                "001191440300708461136I1XGW3",
                Err(InvalidProviderCode::CreditCode),
            ),
        ];
        for (code, expected) in cases {
            assert_eq!(ProviderCode::parse(code).map(|_| ()), expected, "{code}");
        }
    }

    #[test]
    fn the_credit_code_of_the_standard_checks() {
        assert_eq!(credit_check("91110000600037341"), Some('L'));
        assert_eq!(organisation_check("60003734"), Some('1'));
    }

    #[test]
    fn a_label_has_seven_keys_in_order_and_leads_to_the_call_and_the_model() {
        let call = "0196f3a0-0000-7000-8000-000000000001".parse().unwrap();
        let code = ProviderCode::parse(DEMONSTRATION_CODE)
            .unwrap()
            .for_route("QW05");
        let label = Labeller::new(code.clone(), None).label(call);
        let fields: indexmap::IndexMap<String, String> = serde_json::from_str(&label).unwrap();
        let expected = [
            ("Label", "1"),
            ("ContentProducer", "001192000000WANWUDEM9K1QW05"),
            ("ProduceID", "0196f3a0-0000-7000-8000-000000000001"),
            ("ReservedCode1", ""),
            ("ContentPropagator", ""),
            ("PropagateID", ""),
            ("ReservedCode2", ""),
        ];
        assert!(
            fields
                .iter()
                .map(|(k, v)| (k.as_str(), v.as_str()))
                .eq(expected)
        );
        assert!(code.is_demonstration());
        let key = hmac::Key::new(hmac::HMAC_SHA256, b"k");
        let signed: serde_json::Value =
            serde_json::from_str(&Labeller::new(code, Some(key)).label(call)).unwrap();
        assert_eq!(signed["ReservedCode1"].as_str().unwrap().len(), 64);
    }
}
