use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use tonic::{Code, Status};
use wanwu_proto::operations::v1::ErrorReason;

use crate::platform_status;

pub(crate) const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

/// The longest value that the protocol allows: eight digits.
const MAX_VALUE: u128 = 99_999_999;

/// Reads `grpc-timeout` (`100m`: 100 ms). A value that breaks the protocol counts as absent.
pub(crate) fn read(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(GRPC_TIMEOUT)?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let value: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(value * 3600)),
        "M" => Some(Duration::from_secs(value * 60)),
        "S" => Some(Duration::from_secs(value)),
        "m" => Some(Duration::from_millis(value)),
        "u" => Some(Duration::from_micros(value)),
        "n" => Some(Duration::from_nanos(value)),
        _ => None,
    }
}

/// Writes `grpc-timeout` in the finest unit that holds the value.
pub(crate) fn write(headers: &mut HeaderMap, timeout: Duration) {
    let units = [
        (timeout.as_nanos(), 'n'),
        (timeout.as_micros(), 'u'),
        (timeout.as_millis(), 'm'),
        (u128::from(timeout.as_secs()), 'S'),
    ];
    let (value, unit) = units
        .into_iter()
        .find(|(value, _)| *value <= MAX_VALUE)
        .unwrap_or((MAX_VALUE, 'S'));
    let value = HeaderValue::try_from(format!("{value}{unit}"));
    headers.insert(
        GRPC_TIMEOUT,
        value.expect("digits and a letter are a header's value"),
    );
}

/// What a caller is told when the deadline passed.
pub(crate) fn exceeded() -> Status {
    platform_status(
        Code::DeadlineExceeded,
        ErrorReason::DeadlineExceeded,
        "the deadline passed",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_survive_the_wire() {
        let cases = [
            (Duration::from_nanos(5), "5n"),
            (Duration::from_millis(99), "99000000n"),
            (Duration::from_millis(250), "250000u"),
            (Duration::from_secs(100), "100000m"),
            (Duration::from_secs(200_000), "200000S"),
        ];
        for (timeout, text) in cases {
            let mut headers = HeaderMap::new();
            write(&mut headers, timeout);
            assert_eq!(headers[GRPC_TIMEOUT], text);
            assert_eq!(read(&headers), Some(timeout));
        }
    }

    #[test]
    fn a_broken_timeout_counts_as_absent() {
        for text in ["", "m", "1", "1x", "-1m", "123456789m", "1 m"] {
            let mut headers = HeaderMap::new();
            headers.insert(GRPC_TIMEOUT, HeaderValue::from_static(text));
            assert_eq!(read(&headers), None, "{text:?}");
        }
    }
}
