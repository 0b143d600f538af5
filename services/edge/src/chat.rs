//! Calls of models, `POST /v1/chat/completions` and its like: OpenAI's request passes as bytes, its
//! answer comes back as JSON or as server-sent events.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use http_body_util::Full;
use tonic::{Code, Status, body::Body};
use wanwu_access::{Reason, refusal};
use wanwu_grpc::platform_status;

mod frames;
mod request;
mod shape;
mod sse;

pub use shape::Shape;

use frames::{Content, Frame, Frames};
use sse::Events;

use crate::{beginning, edge::Edge, messages::Messages, upstream::Call, visit::Visit};

/// The token of the end user's device.
const DEVICE: &str = "wanwu-device";
const IDEMPOTENCY_KEY: &str = "idempotency-key";
/// The longest value of either header, in bytes.
const MAX_VALUE: usize = 512;
/// The longest frame of an answer.
const MAX_FRAME: usize = 16 << 20;
const CALL_ID: HeaderName = HeaderName::from_static("wanwu-call-id");
/// What clients are told of a model's end (RFC 9745, RFC 8594).
const TOLD_ON: [HeaderName; 2] = [
    HeaderName::from_static("deprecation"),
    HeaderName::from_static("sunset"),
];
const SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");

/// Answers one request. The first frame decides how: whether the request asked for a stream
/// is known to who read it. A stream whose first frame is long in coming begins without it.
pub async fn complete(
    edge: &Edge,
    visit: &mut Visit,
    shape: Shape,
) -> Result<Response<Body>, Status> {
    let contracts = edge.contracts.load_full();
    let method = contracts
        .method(shape.method())
        .ok_or_else(Edge::unknown_method)?;
    let headers = &visit.parts.headers;
    let admitted = edge
        .admission
        .admit(&contracts, method, headers, &visit.arrival)
        .await;
    let principal = admitted.map_err(refusal)?;
    let device = value(headers, DEVICE)?;
    let idempotency_key = value(headers, IDEMPOTENCY_KEY)?;
    let channel = edge.upstream.find(&method.target, headers)?;
    let body = visit.read(edge.limits.max_chat_body, &edge.limits).await?;

    visit.forwarded();
    let call = Call {
        channel,
        path: shape.method(),
        principal: Some(principal),
        request_id: &visit.arrival.request_id,
        timeout: edge.limits.stream_timeout,
        affinity: Some(beginning::affinity(&body)),
    };
    let answer = call
        .send(request::encode(body, &device, &idempotency_key))
        .await?;
    let (told, messages) = Messages::of(answer, MAX_FRAME)?;
    let frames = Frames::new(messages);
    let done = !shape.has_typed_events();
    let mut response = if let Some(call_id) = told.get(CALL_ID) {
        let mut response = events(Events::silent(frames, edge.limits.keep_alive, done));
        response.headers_mut().insert(CALL_ID, call_id.clone());
        response
    } else {
        begun(frames, edge.limits.keep_alive, done).await?
    };
    for name in TOLD_ON {
        if let Some(value) = told.get(&name) {
            response.headers_mut().insert(name, value.clone());
        }
    }
    Ok(response)
}

/// The answer that begins with its first frame.
async fn begun(
    mut frames: Frames,
    keep_alive: Duration,
    done: bool,
) -> Result<Response<Body>, Status> {
    let first = frames
        .next()
        .await?
        .ok_or_else(|| refusal(Reason::Internal))?;
    let call_id = first.call_id.clone();
    let mut response = if matches!(first.content, Content::Error(_)) {
        refused_late(first)
    } else if first.stream {
        events(Events::new(first, frames, keep_alive, done))
    } else {
        document(first, frames).await?
    };
    if let Ok(call_id) = HeaderValue::from_str(&call_id)
        && !call_id.is_empty()
    {
        response.headers_mut().insert(CALL_ID, call_id);
    }
    Ok(response)
}

/// A header's text; empty: there is none.
fn value(headers: &HeaderMap, name: &'static str) -> Result<String, Status> {
    let Some(value) = headers.get(name) else {
        return Ok(String::new());
    };
    let text = value.to_str().ok().filter(|text| text.len() <= MAX_VALUE);
    text.map(str::to_owned).ok_or_else(|| {
        let message = format!("the header {name} is not valid");
        platform_status(Code::InvalidArgument, Reason::InvalidArgument, &message)
    })
}

fn events(events: Events) -> Response<Body> {
    let mut response = Response::new(Body::new(events));
    let headers = response.headers_mut();
    let events = HeaderValue::from_static("text/event-stream; charset=utf-8");
    headers.insert(header::CONTENT_TYPE, events);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    // Proxies that buffer answers would hold tokens back.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}

async fn document(first: Frame, mut frames: Frames) -> Result<Response<Body>, Status> {
    let Content::Data(json) = first.content else {
        return Err(refusal(Reason::Internal));
    };
    // The service says at the end whether all went well.
    if frames.next().await?.is_some() {
        return Err(refusal(Reason::Internal));
    }
    Ok(json_bytes(StatusCode::OK, json))
}

/// The call was made and its answer cannot be given: asking again would make it once more.
fn refused_late(first: Frame) -> Response<Body> {
    let (Content::Error(json) | Content::Data(json)) = first.content;
    let mut response = json_bytes(StatusCode::SERVICE_UNAVAILABLE, json);
    response
        .headers_mut()
        .insert(SHOULD_RETRY, HeaderValue::from_static("false"));
    response
}

fn json_bytes(status: StatusCode, json: bytes::Bytes) -> Response<Body> {
    let mut response = Response::new(Body::new(Full::new(json)));
    *response.status_mut() = status;
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}
