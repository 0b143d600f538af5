//! What an engine means that refuses a call.

use std::time::Duration;

use chrono::DateTime;
use http::{HeaderMap, StatusCode, header};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;

use super::{EngineError, pool::BUSY};

/// The longest message of an engine that is read, in bytes.
pub(super) const MAX_MESSAGE_BYTES: usize = 64 * 1024;

/// What an answer that is not a success means.
pub(super) async fn refusal(
    status: StatusCode,
    headers: &HeaderMap,
    body: Incoming,
) -> EngineError {
    let wait = retry_after(headers);
    if status == StatusCode::TOO_MANY_REQUESTS
        || (status == StatusCode::SERVICE_UNAVAILABLE && wait.is_some())
    {
        return EngineError::Busy {
            retry_after: wait.unwrap_or(BUSY.0),
            said: wait.is_some(),
        };
    }
    // Our own credentials are wrong, or the address is, or it was too slow to read: nothing that
    // the client did.
    let ours = matches!(
        status,
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::REQUEST_TIMEOUT
    );
    if !status.is_client_error() || ours {
        return EngineError::Unable(status.as_u16());
    }
    let body = Limited::new(body, MAX_MESSAGE_BYTES).collect().await;
    let text = body.map(|body| body.to_bytes()).unwrap_or_default();
    EngineError::Refused {
        status: status.as_u16(),
        message: message(&text),
    }
}

/// When a busy engine wants to be asked again: after so many seconds, or at a date, by its own clock
/// (RFC 9110, 10.2.3).
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name| Some(headers.get(name)?.to_str().ok()?.trim());
    let date = |text| DateTime::parse_from_rfc2822(text).ok();
    let value = text(header::RETRY_AFTER)?;
    let wait = match value.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let left = date(value)? - date(text(header::DATE)?)?;
            left.to_std().unwrap_or_default()
        }
    };
    Some(wait.min(BUSY.1))
}

/// The message of an OpenAI error object, wherever engines put it.
fn message(body: &[u8]) -> String {
    let json: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    let places = ["/error/message", "/message", "/error", "/detail"];
    let found = places
        .iter()
        .find_map(|place| json.pointer(place)?.as_str());
    let text = found.unwrap_or("the engine refused the request");
    text.chars().take(500).collect()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn a_busy_engine_says_seconds_or_a_date_by_its_own_clock() {
        let now = "Sun, 06 Nov 1994 08:49:37 GMT";
        let cases = [
            ("3", Some(3)),
            (" 7 ", Some(7)),
            ("86400", Some(60)),
            ("Sun, 06 Nov 1994 08:49:42 GMT", Some(5)),
            ("Sun, 06 Nov 1994 08:49:30 GMT", Some(0)),
            ("Fri, 31 Dec 1999 23:59:59 GMT", Some(60)),
            ("soon", None),
            ("-1", None),
        ];
        for (value, seconds) in cases {
            let mut headers = HeaderMap::new();
            headers.insert(header::DATE, HeaderValue::from_static(now));
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static(value));
            let expected = seconds.map(Duration::from_secs);
            assert_eq!(retry_after(&headers), expected, "{value}");
        }
    }

    #[test]
    fn the_engines_own_words_are_found() {
        let cases: [(&[u8], &str); 4] = [
            (br#"{"error":{"message":"too long"}}"#, "too long"),
            (br#"{"object":"error","message":"bad n"}"#, "bad n"),
            (br#"{"detail":"no"}"#, "no"),
            (b"<html>", "the engine refused the request"),
        ];
        for (body, expected) in cases {
            assert_eq!(message(body), expected);
        }
    }
}
