//! gRPC as it is: the path says where, bodies and trailers are bytes. Of calls of models the beginning is
//! looked at as it passes, so that what begins alike goes to the same replica (ADR 10).

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, Request, Response, header};
use http_body::{Frame, SizeHint};
use tonic::{Status, body::Body};
use tower::Service;
use wanwu_access::{Reason, refusal};
use wanwu_grpc::Affinity;

use crate::{
    admission::refused,
    beginning,
    edge::Edge,
    pace::Pace,
    unread_body::Passed,
    upstream::{PRINCIPAL, put_request_id, put_timeout},
    visit::Visit,
};

/// Passes a call to the service that answers it.
pub async fn pass(edge: &Edge, visit: &mut Visit) -> Result<Response<Body>, Status> {
    let contracts = edge.contracts.load_full();
    let path = visit.parts.uri.path();
    let method = contracts.method(path).ok_or_else(Edge::unknown_method)?;
    let headers = &visit.parts.headers;
    let admitted = edge
        .admission
        .admit(&contracts, method, headers, &visit.arrival)
        .await;
    let principal = admitted.map_err(refusal)?;
    let mut channel = edge.upstream.find(&method.target, headers)?.clone();

    let limit = if method.client_streaming || method.server_streaming {
        edge.limits.stream_timeout
    } else {
        edge.limits.unary_timeout
    };
    let timeout = asked_timeout(headers).map_or(limit, |asked| asked.min(limit));
    let Some(body) = visit.body.take() else {
        return Err(refusal(Reason::Internal));
    };
    let max_body = (!method.client_streaming).then_some(edge.limits.max_grpc_body);
    // A stream of the client may be silent for as long as it likes.
    let pace = (!method.client_streaming).then(|| Pace::of_passed_body(&edge.limits));
    let (mut body, cut) = Passed::new(body, max_body, pace);
    let affinity = match method.shape {
        Some(_) => affinity(&mut body, visit, edge.limits.body_timeout).await,
        None => None,
    };
    let mut request = Request::new(Body::new(body));
    *request.method_mut() = visit.parts.method.clone();
    *request.uri_mut() = visit.parts.uri.clone();
    let mut headers = std::mem::take(&mut visit.parts.headers);
    clean(&mut headers);
    put_timeout(&mut headers, timeout);
    put_request_id(&mut headers, &visit.arrival.request_id);
    headers.insert(PRINCIPAL, principal);
    *request.headers_mut() = headers;
    if let Some(affinity) = affinity {
        request.extensions_mut().insert(affinity);
    }

    visit.forwarded();
    match channel.call(request).await {
        Ok(response) => Ok(response.map(|body| Body::new(Relayed { body, ended: false }))),
        Err(status) => Err(match cut.reason() {
            Some(reason) => {
                refused(reason);
                refusal(reason)
            }
            None => status,
        }),
    }
}

/// What the call of a model begins like. Its body passes on as it came.
async fn affinity(body: &mut Passed, visit: &mut Visit, timeout: Duration) -> Option<Affinity> {
    let begun = Instant::now();
    let head = body.read_ahead(beginning::is_enough, timeout).await;
    visit.waited += begun.elapsed();
    beginning::affinity_of_message(&head)
}

/// Takes out what a client may not say to a service, and what no service needs to know of it.
fn clean(headers: &mut HeaderMap) {
    let ours: Vec<HeaderName> = headers
        .keys()
        .filter(|name| {
            let name = name.as_str();
            name.starts_with("wanwu-") || name.starts_with("x-forwarded-")
        })
        .cloned()
        .collect();
    for name in ours {
        headers.remove(name);
    }
    for name in [
        header::AUTHORIZATION,
        header::COOKIE,
        header::FORWARDED,
        header::HOST,
    ] {
        headers.remove(name);
    }
    // The trace goes on from the edge's own span; the length may not be what arrives.
    for name in [
        "baggage",
        "content-length",
        "traceparent",
        "tracestate",
        "x-real-ip",
    ] {
        headers.remove(name);
    }
}

/// The client's `grpc-timeout`; one that breaks the protocol counts as absent.
fn asked_timeout(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let sound = (1..=8).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
    let value: u64 = digits.parse().ok().filter(|_| sound)?;
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

/// The body of an answer. A connection that breaks in the middle ends it with a status, so that
/// the client is told and not cut.
struct Relayed {
    body: Body,
    ended: bool,
}

impl http_body::Body for Relayed {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        task: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = self.get_mut();
        if this.ended {
            return Poll::Ready(None);
        }
        match ready!(Pin::new(&mut this.body).poll_frame(task)) {
            Some(Err(_)) => {
                this.ended = true;
                let mut trailers = HeaderMap::new();
                // It fails only for metadata that no header can hold; ours has none.
                let _ = refusal(Reason::Unavailable).add_header(&mut trailers);
                Poll::Ready(Some(Ok(Frame::trailers(trailers))))
            }
            frame => Poll::Ready(frame),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.ended || self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_client_may_not_say_is_taken_out() {
        let mut headers = HeaderMap::new();
        for name in [
            "wanwu-principal-bin",
            "wanwu-request-id",
            "wanwu-anything",
            "authorization",
            "cookie",
            "x-forwarded-for",
            "x-real-ip",
            "baggage",
        ] {
            headers.append(http::HeaderName::from_static(name), "x".parse().unwrap());
            headers.append(http::HeaderName::from_static(name), "y".parse().unwrap());
        }
        headers.insert("grpc-encoding", "identity".parse().unwrap());
        headers.insert("x-own", "kept".parse().unwrap());
        clean(&mut headers);
        let mut names: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["grpc-encoding", "x-own"]);
    }

    #[test]
    fn a_timeout_is_read_as_the_protocol_says() {
        let cases = [
            ("250m", Some(Duration::from_millis(250))),
            ("1H", Some(Duration::from_secs(3600))),
            ("99999999n", Some(Duration::from_nanos(99_999_999))),
            ("123456789m", None),
            ("+1S", None),
            ("m", None),
            ("5", None),
            ("", None),
        ];
        for (text, expected) in cases {
            let mut headers = HeaderMap::new();
            headers.insert("grpc-timeout", text.parse().unwrap());
            assert_eq!(asked_timeout(&headers), expected, "{text}");
        }
    }
}
