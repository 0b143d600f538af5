use aws_lc_rs::constant_time::verify_slices_are_equal;
use totp_rs::{Algorithm, TOTP, TotpUrlError};

/// Seconds of one step (RFC 6238).
const STEP: u64 = 30;

/// The authenticator of an operator.
pub struct Authenticator(TOTP);

impl Authenticator {
    /// With this secret, at least 16 bytes.
    pub fn new(secret: Vec<u8>) -> Result<Self, TotpUrlError> {
        TOTP::new(Algorithm::SHA1, 6, 1, STEP, secret).map(Self)
    }

    /// The step that a code belongs to, if it is one of now or a neighbour, and later than the last
    /// one used: each code is good once.
    #[must_use]
    pub fn step_of(&self, code: &str, unix_seconds: u64, last_step: i64) -> Option<i64> {
        let now = unix_seconds / STEP;
        (now.saturating_sub(1)..=now + 1).find_map(|step| {
            let number = i64::try_from(step).ok()?;
            let right = self.0.generate(step * STEP);
            let right = verify_slices_are_equal(right.as_bytes(), code.as_bytes()).is_ok();
            (right && number > last_step).then_some(number)
        })
    }

    /// The code at an instant; for tests.
    #[must_use]
    pub fn code_at(&self, unix_seconds: u64) -> String {
        self.0.generate(unix_seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_good_once_and_for_a_minute_and_a_half() {
        let authenticator = Authenticator::new(b"12345678901234567890".to_vec()).unwrap();
        // RFC 6238, appendix B, of which these are the last six digits.
        assert_eq!(authenticator.code_at(59), "287082");
        assert_eq!(authenticator.step_of("287082", 59, 0), Some(1));
        assert_eq!(
            authenticator.step_of("287082", 89, 0),
            Some(1),
            "a clock that is behind"
        );
        assert_eq!(authenticator.step_of("287082", 120, 0), None, "too old");
        assert_eq!(authenticator.step_of("287082", 59, 1), None, "used");
        assert_eq!(authenticator.step_of("000000", 59, 0), None);
    }
}
