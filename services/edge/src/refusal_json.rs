//! A status as JSON over HTTP.

use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::Full;
use serde_json::{Map, Value, json};
use tonic::{Code, Status, body::Body};
use tonic_types::{ErrorDetails, StatusExt};

/// The HTTP status of a gRPC code (google.rpc.Code), made exact by the reason.
#[must_use]
pub fn http_status(code: Code, reason: &str) -> StatusCode {
    match reason {
        "TOO_LARGE" => return StatusCode::PAYLOAD_TOO_LARGE,
        "UNKNOWN_METHOD" => return StatusCode::NOT_FOUND,
        "REQUEST_TOO_SLOW" => return StatusCode::REQUEST_TIMEOUT,
        _ => {}
    }
    match code {
        Code::Ok => StatusCode::OK,
        Code::InvalidArgument | Code::FailedPrecondition | Code::OutOfRange => {
            StatusCode::BAD_REQUEST
        }
        Code::Unauthenticated => StatusCode::UNAUTHORIZED,
        Code::PermissionDenied => StatusCode::FORBIDDEN,
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::AlreadyExists | Code::Aborted => StatusCode::CONFLICT,
        Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
        // Nobody waits for it any more; the code that proxies use.
        Code::Cancelled => StatusCode::from_u16(499).unwrap_or(StatusCode::BAD_REQUEST),
        Code::Unimplemented => StatusCode::NOT_IMPLEMENTED,
        Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Code::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
        Code::Unknown | Code::Internal | Code::DataLoss => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// The reason in a status; empty: it says none.
#[must_use]
pub fn reason(details: &ErrorDetails) -> &str {
    details.error_info().map_or("", |info| info.reason.as_str())
}

/// Whole seconds after which to try again.
#[must_use]
pub fn retry_after(details: &ErrorDetails) -> Option<u64> {
    let delay = details.retry_info()?.retry_delay?;
    Some(delay.as_secs() + u64::from(delay.subsec_nanos() > 0))
}

/// `google.rpc.Status` in protobuf's JSON.
#[must_use]
pub fn response(status: &Status) -> Response<Body> {
    let details = status.get_error_details();
    let body = json!({
        "code": i32::from(status.code()),
        "message": status.message(),
        "details": details_json(&details),
    });
    let http_status = http_status(status.code(), reason(&details));
    let mut response = json_response(http_status, &body);
    if let Some(after) = retry_after(&details) {
        response
            .headers_mut()
            .insert(header::RETRY_AFTER, after.into());
    }
    if http_status == StatusCode::UNAUTHORIZED {
        let bearer = HeaderValue::from_static("Bearer");
        response
            .headers_mut()
            .insert(header::WWW_AUTHENTICATE, bearer);
    }
    response
}

/// A JSON document.
#[must_use]
pub fn json_response(status: StatusCode, body: &Value) -> Response<Body> {
    let mut response = Response::new(Body::new(Full::from(body.to_string())));
    *response.status_mut() = status;
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}

fn details_json(details: &ErrorDetails) -> Vec<Value> {
    let mut all = Vec::new();
    if let Some(info) = details.error_info() {
        // In the order of the keys, so that the same refusal is the same bytes.
        let mut metadata: Vec<_> = info.metadata.iter().collect();
        metadata.sort();
        let metadata: Map<String, Value> = metadata
            .into_iter()
            .map(|(key, value)| (key.clone(), Value::from(value.as_str())))
            .collect();
        all.push(json!({
            "@type": "type.googleapis.com/google.rpc.ErrorInfo",
            "reason": info.reason, "domain": info.domain, "metadata": metadata,
        }));
    }
    if let Some(bad) = details.bad_request() {
        let violations: Vec<_> = bad
            .field_violations
            .iter()
            .map(|one| json!({"field": one.field, "description": one.description}))
            .collect();
        all.push(json!({
            "@type": "type.googleapis.com/google.rpc.BadRequest",
            "fieldViolations": violations,
        }));
    }
    if let Some(delay) = details.retry_info().and_then(|retry| retry.retry_delay) {
        all.push(json!({
            "@type": "type.googleapis.com/google.rpc.RetryInfo",
            "retryDelay": format!("{}s", delay.as_secs_f64()),
        }));
    }
    all
}

#[cfg(test)]
mod tests {
    use wanwu_access::{Reason, refusal};

    use super::*;

    #[test]
    fn reasons_have_the_status_that_clients_expect() {
        let cases = [
            (Reason::Unauthenticated, 401),
            (Reason::InvalidCredential, 401),
            (Reason::NetworkNotAllowed, 403),
            (Reason::AccountSuspended, 403),
            (Reason::StandingUnknown, 503),
            (Reason::InvalidArgument, 400),
            (Reason::RequestIdReused, 409),
            (Reason::RateLimited, 429),
            (Reason::NotFound, 404),
            (Reason::TooLarge, 413),
            (Reason::UnknownMethod, 404),
            (Reason::DeadlineExceeded, 504),
            (Reason::RequestTooSlow, 408),
            (Reason::Internal, 500),
        ];
        for (reason, expected) in cases {
            assert_eq!(response(&refusal(reason)).status(), expected, "{reason:?}");
        }
        let busy = response(&refusal(Reason::RateLimited));
        assert_eq!(busy.headers()[header::RETRY_AFTER], "1");
    }
}
