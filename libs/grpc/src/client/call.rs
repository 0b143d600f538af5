//! One call: its deadline, its span, a connection to send it on.

use std::{pin::pin, sync::Arc, time::Duration};

use http::{
    HeaderValue, Request, Response, Uri, header,
    uri::{self, PathAndQuery, Scheme},
};
use tokio::time::Instant;
use tonic::{Code, Status, body::Body};
use tracing::{Instrument, Span};
use wanwu_proto::operations::v1::ErrorReason;

use super::{
    affinity::Affinity,
    pool::Pool,
    replay::{Replay, is_unprocessed},
    trace,
};
use crate::{
    Context,
    call::{Alarm, Ended, Limited},
    connect::CONNECT_TIMEOUT,
    context::REQUEST_ID,
    deadline, grpc_status, methods, platform_status,
};

/// What a call gets that has no deadline of its own and no stream for an answer.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);
/// How often a call is sent again that its replicas did not look at.
const MAX_REPLAYS: u32 = 3;

pub(super) async fn call(
    pool: Arc<Pool>,
    mut request: Request<Body>,
) -> Result<Response<Body>, Status> {
    let context = Context::current();
    let timeout = timeout(&request, context.as_ref());
    let deadline = timeout.map(|timeout| Instant::now() + timeout);
    if timeout.is_some_and(|timeout| timeout.is_zero()) {
        return Err(deadline::exceeded());
    }
    let span = address(&pool, &mut request, timeout, context.as_ref())?;

    let mut alarm = Alarm::at(deadline);
    let send = pin!(send(&pool, request, deadline).instrument(span.clone()));
    let sent = alarm.before(send).await;
    let sent = sent.unwrap_or_else(|| Err(deadline::exceeded()));
    let (mut response, in_flight) = sent.inspect_err(|status| record(&span, status.code()))?;
    grpc_status::mend_timeout(response.headers_mut());
    let (parts, body) = response.into_parts();
    let ended = move |code| {
        record(&span, code);
        drop(in_flight);
    };
    let body = Ended::new(&parts.headers, Limited::new(body, alarm), ended);
    Ok(Response::from_parts(parts, Body::new(body)))
}

/// The nearest of the call's own deadline and that of the call that is being answered.
fn timeout(request: &Request<Body>, context: Option<&Context>) -> Option<Duration> {
    let own = deadline::read(request.headers());
    let left = context.and_then(Context::remaining);
    match (own, left) {
        (Some(own), Some(left)) => Some(own.min(left)),
        (Some(one), None) | (None, Some(one)) => Some(one),
        (None, None) if methods::is_streaming(request.uri().path()) => None,
        (None, None) => Some(DEFAULT_TIMEOUT),
    }
}

/// Writes on the request where it goes and what it carries.
fn address(
    pool: &Pool,
    request: &mut Request<Body>,
    timeout: Option<Duration>,
    context: Option<&Context>,
) -> Result<Span, Status> {
    let path = request.uri().path_and_query().cloned();
    let path = path.unwrap_or_else(|| PathAndQuery::from_static("/"));
    let given = request
        .headers()
        .get(REQUEST_ID)
        .and_then(|id| id.to_str().ok());
    // What the request says already stays there.
    let missing = match given {
        Some(_) => None,
        None => context.map(Context::request_id),
    };
    let request_id = given.or(missing).unwrap_or_default();
    let span = trace::span(path.path(), pool.service(), request_id);

    let mut parts = uri::Parts::default();
    parts.scheme = Some(Scheme::HTTPS);
    parts.authority = pool.authority().cloned();
    parts.path_and_query = Some(path);
    *request.uri_mut() = Uri::from_parts(parts)
        .map_err(|_| Status::internal("the path of the call is not valid"))?;
    *request.version_mut() = http::Version::HTTP_2;
    let headers = request.headers_mut();
    headers.insert(header::TE, HeaderValue::from_static("trailers"));
    if let Some(Ok(id)) = missing.map(HeaderValue::try_from) {
        headers.insert(REQUEST_ID, id);
    }
    if let Some(timeout) = timeout {
        deadline::write(headers, timeout);
    }
    trace::inject(&span, headers);
    Ok(span)
}

type Sent = (Response<hyper::body::Incoming>, super::endpoint::InFlight);

/// Sends on a connected replica. What no connection took, or no replica looked at, is tried on the
/// next one, until `CONNECT_TIMEOUT` has passed: a replica that restarts is back by then.
async fn send(
    pool: &Pool,
    request: Request<Body>,
    deadline: Option<Instant>,
) -> Result<Sent, Status> {
    let affinity = request.extensions().get::<Affinity>().copied();
    let (mut request, replay) = Replay::of(request);
    let mut replays = 0;
    let mut changes = pool.changes();
    let give_up = Instant::now() + CONNECT_TIMEOUT;
    let give_up = deadline.map_or(give_up, |deadline| deadline.min(give_up));
    loop {
        let picked = pool
            .pick(affinity)
            .and_then(|endpoint| Some((endpoint.sender()?, endpoint)));
        let Some((mut sender, endpoint)) = picked else {
            if tokio::time::timeout_at(give_up, changes.changed())
                .await
                .is_err()
            {
                return Err(unavailable("the service cannot be reached"));
            }
            continue;
        };
        let in_flight = endpoint.count();
        let sent = sender.try_send_request(request);
        // What comes to a connection in the moment of its end is given back when nobody has a way to
        // send on it any more: who waits for an answer keeps none.
        drop(sender);
        match sent.await {
            Ok(response) => return Ok((response, in_flight)),
            Err(mut error) => {
                let next = match error.take_message() {
                    // It never left: another connection may take it.
                    Some(unsent) => {
                        endpoint.lose();
                        Some(unsent)
                    }
                    None if is_unprocessed(error.error()) && replays < MAX_REPLAYS => {
                        replays += 1;
                        replay.again()
                    }
                    None => None,
                };
                match next {
                    Some(next) if Instant::now() < give_up => request = next,
                    _ => return Err(lost(&error.into_error())),
                }
            }
        }
    }
}

/// What a caller is told when a call was lost on its way.
fn lost(error: &hyper::Error) -> Status {
    let error = error as &(dyn std::error::Error + 'static);
    tracing::debug!(error, "a call was lost");
    unavailable("the connection to the service broke")
}

fn unavailable(message: &str) -> Status {
    platform_status(Code::Unavailable, ErrorReason::Unavailable, message)
}

fn record(span: &Span, code: Code) {
    if span.is_disabled() {
        return;
    }
    span.record("rpc.grpc.status_code", i32::from(code));
    if code != Code::Ok {
        span.record("otel.status_code", "ERROR");
    }
}
