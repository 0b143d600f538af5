use aws_lc_rs::hmac;
use chrono::Duration;
use wanwu_clock::Entropy;

/// How long a code lives.
pub const LIFETIME: Duration = Duration::minutes(5);
/// Comparisons with one code, right or wrong.
pub const MAX_COMPARISONS: i32 = 5;
/// What a code of registration and sign-in is for.
pub const SIGN_IN: &str = "sign_in";

/// A verification code: 6 digits.
pub struct Code(String);

impl Code {
    /// A new code; every one of the million is as likely.
    #[must_use]
    pub fn new(entropy: &dyn Entropy) -> Self {
        // The part of u32 above the largest multiple of a million would make some codes likelier.
        const LIMIT: u32 = u32::MAX - u32::MAX % 1_000_000;
        loop {
            let mut bytes = [0; 4];
            entropy.fill(&mut bytes);
            let number = u32::from_le_bytes(bytes);
            if number < LIMIT {
                return Self(format!("{:06}", number % 1_000_000));
            }
        }
    }

    /// A code that somebody typed, if it has the form of one.
    #[must_use]
    pub fn typed(text: &str) -> Option<Self> {
        let sound = text.len() == 6 && text.bytes().all(|byte| byte.is_ascii_digit());
        sound.then(|| Self(text.to_owned()))
    }

    /// The digits, for the message.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// What is stored of it: bound to the number and the purpose that it was sent for.
    #[must_use]
    pub fn mac(&self, key: &hmac::Key, phone_mac: &[u8], purpose: &str) -> Vec<u8> {
        hmac::sign(key, &self.message(phone_mac, purpose))
            .as_ref()
            .to_vec()
    }

    /// Compares in constant time.
    #[must_use]
    pub fn matches(&self, key: &hmac::Key, phone_mac: &[u8], purpose: &str, mac: &[u8]) -> bool {
        hmac::verify(key, &self.message(phone_mac, purpose), mac).is_ok()
    }

    fn message(&self, phone_mac: &[u8], purpose: &str) -> Vec<u8> {
        [phone_mac, b"|", purpose.as_bytes(), b"|", self.0.as_bytes()].concat()
    }
}

#[cfg(test)]
mod tests {
    use wanwu_clock::SeededEntropy;

    use super::*;

    #[test]
    fn a_code_is_good_for_its_number_and_purpose_only() {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &[1; 32]);
        let code = Code::new(&SeededEntropy::new(1));
        let mac = code.mac(&key, b"number", SIGN_IN);
        assert!(code.matches(&key, b"number", SIGN_IN, &mac));
        assert!(!code.matches(&key, b"another", SIGN_IN, &mac));
        assert!(!code.matches(&key, b"number", "other", &mac));
        let other = Code::typed("000000").unwrap();
        assert!(!other.matches(&key, b"number", SIGN_IN, &mac));
    }

    #[test]
    fn only_six_digits_are_a_code() {
        for text in ["", "12345", "1234567", "12345a", "１２３４５６", " 12345"] {
            assert!(Code::typed(text).is_none(), "{text:?}");
        }
        assert!(Code::typed("012345").is_some());
    }

    #[test]
    fn codes_are_spread_over_all_digits() {
        let entropy = SeededEntropy::new(2);
        let mut counts = [0_u32; 10];
        for _ in 0..10_000 {
            let code = Code::new(&entropy);
            counts[usize::from(code.expose().as_bytes()[0] - b'0')] += 1;
        }
        assert!(
            counts.iter().all(|count| (850..1150).contains(count)),
            "{counts:?}"
        );
    }
}
