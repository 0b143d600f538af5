//! The edge: what a request is, who answers it, and how an answer looks.

use std::{
    convert::Infallible,
    net::IpAddr,
    panic::AssertUnwindSafe,
    sync::Arc,
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use futures::FutureExt;
use http::{
    HeaderName, HeaderValue, Method, Request, Response, StatusCode, Version, header::CONTENT_TYPE,
};
use http_body_util::Full;
use hyper::body::Incoming;
use serde_json::json;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tonic::{Status, body::Body, service::Routes};
use tower::Service;
use tracing::Instrument;
use wanwu_access::{Reason, is_open, refusal};
use wanwu_ids::{Ids, RequestId};

use crate::{
    admission::{Admission, refused},
    callback,
    chat::{self, Shape},
    config::Limits,
    contracts::Contracts,
    measured::{Measured, UnderWay},
    models, openai_error, pass_through, refusal_json,
    refusal_json::json_response,
    request_span, transcode, unread_body,
    upstream::{REQUEST_ID, Upstream},
    visit::{Kind, Visit},
};

/// Everything that answers requests.
pub struct Edge {
    /// The public methods, as they are now.
    pub contracts: ArcSwap<Contracts>,
    /// Who may pass.
    pub admission: Admission,
    /// The services.
    pub upstream: Upstream,
    /// Limits.
    pub limits: Limits,
    /// One permit a request under way.
    pub places: Arc<Semaphore>,
    /// The same of gRPC's own services.
    pub open_places: Arc<Semaphore>,
    /// Makes the ids of requests.
    pub ids: Ids,
    /// Answers gRPC's health checks.
    pub health: Routes,
    /// It was told to stop.
    pub draining: CancellationToken,
}

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const HEALTH: &str = "/healthz";
const GRPC_HEALTH: &str = "/grpc.health.v1.Health/";

impl Edge {
    /// Answers one request; whatever happens, there is an answer.
    pub async fn answer(
        self: Arc<Self>,
        peer: IpAddr,
        request: Request<Incoming>,
    ) -> Result<Response<Measured>, Infallible> {
        let begun = Instant::now();
        let id: RequestId = self.ids.id();
        let (parts, body) = request.into_parts();
        let kind = kind(&parts);
        let arrival = self.admission.arrival(id.to_string(), peer, &parts.headers);
        let route = self.route(kind, parts.uri.path());
        let span = request_span::begin(kind, &route, &parts, &arrival.request_id);
        let places = match kind {
            Kind::Open => &self.open_places,
            _ => &self.places,
        };
        let place = Arc::clone(places).try_acquire_owned().ok();
        let busy = place.is_none() && kind != Kind::Health;
        let mut under_way = UnderWay::begin(kind, route, begun, span.clone(), place);
        let mut visit = Visit {
            kind,
            parts,
            body: Some(body),
            arrival,
            begun,
            waited: Duration::ZERO,
        };
        let dispatched = AssertUnwindSafe(async {
            if busy {
                refused(Reason::RateLimited);
                return Err(refusal(Reason::RateLimited));
            }
            self.dispatch(&mut visit).await
        });
        let answered = dispatched.catch_unwind().instrument(span.clone()).await;
        let answered = answered.unwrap_or_else(|_| Err(refusal(Reason::Internal)));
        let mut response = answered.unwrap_or_else(|status| refuse(&visit, &status));
        if let Some(body) = visit.body.take()
            && !visit.parts.headers.contains_key("expect")
        {
            unread_body::drain(body, visit.parts.version).await;
        }
        let headers = response.headers_mut();
        if let Ok(id) = HeaderValue::from_str(&visit.arrival.request_id) {
            if matches!(kind, Kind::Model(_) | Kind::Models) {
                // Where the official SDKs look for it.
                headers.insert(X_REQUEST_ID, id.clone());
            }
            headers.insert(REQUEST_ID, id);
        }
        under_way.is_recorded = request_span::show(&span, headers);
        Ok(Measured::around(response, under_way))
    }

    /// There is no such method, or none for clients.
    #[must_use]
    pub fn unknown_method() -> Status {
        refused(Reason::UnknownMethod);
        refusal(Reason::UnknownMethod)
    }

    async fn dispatch(&self, visit: &mut Visit) -> Result<Response<Body>, Status> {
        // HTTP/1.1 counts them while it reads; HTTP/2 only weighs them.
        if visit.parts.headers.len() > self.limits.max_headers {
            let body = json!({"code": 3, "message": "too many headers", "details": []});
            return Ok(json_response(
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                &body,
            ));
        }
        match visit.kind {
            Kind::Grpc => pass_through::pass(self, visit).await,
            Kind::Open => self.open(visit).await,
            Kind::Json => transcode::transcode(self, visit).await,
            Kind::Model(shape) => chat::complete(self, visit, shape).await,
            Kind::Models => models::models(self, visit).await,
            Kind::Callback => callback::relay(self, visit).await,
            Kind::Health => Ok(self.healthz()),
            Kind::Unknown
                if self
                    .contracts
                    .load()
                    .method(visit.parts.uri.path())
                    .is_some() =>
            {
                Ok(unsupported())
            }
            Kind::UnknownOpenAi | Kind::Unknown => Err(Self::unknown_method()),
        }
    }

    /// Health, from everywhere, and reflection, from the mainland.
    async fn open(&self, visit: &mut Visit) -> Result<Response<Body>, Status> {
        let mut routes = if visit.parts.uri.path().starts_with(GRPC_HEALTH) {
            self.health.clone()
        } else {
            self.admission.admit_open(&visit.arrival).map_err(refusal)?;
            self.contracts.load().reflection()
        };
        let Some(body) = visit.body.take() else {
            return Err(refusal(Reason::Internal));
        };
        // Reflection is a stream of the client, which may be silent.
        let (body, _) = unread_body::Passed::new(body, Some(self.limits.max_json_body), None);
        let mut request = Request::new(Body::new(body));
        *request.method_mut() = visit.parts.method.clone();
        *request.uri_mut() = visit.parts.uri.clone();
        *request.version_mut() = visit.parts.version;
        *request.headers_mut() = std::mem::take(&mut visit.parts.headers);
        let answered: Result<_, Infallible> = routes.call(request).await;
        match answered {
            Ok(response) => Ok(response),
            Err(never) => match never {},
        }
    }

    fn healthz(&self) -> Response<Body> {
        let (status, text) = if self.draining.is_cancelled() {
            (StatusCode::SERVICE_UNAVAILABLE, "stopping\n")
        } else {
            (StatusCode::OK, "ok\n")
        };
        let mut response = Response::new(Body::new(Full::from(text)));
        *response.status_mut() = status;
        response
    }

    /// What the request asks for, as spans and logs may show it: never a path that somebody made
    /// up.
    fn route(&self, kind: Kind, path: &str) -> Box<str> {
        match kind {
            Kind::Grpc | Kind::Json => {
                let contracts = self.contracts.load();
                contracts
                    .method(path)
                    .map_or("unknown", |method| &*method.path)
                    .into()
            }
            Kind::Open => path.into(),
            Kind::Model(shape) => shape.path().into(),
            Kind::Models => models::MODELS.into(),
            Kind::Callback => path.into(),
            Kind::Health => HEALTH.into(),
            Kind::UnknownOpenAi | Kind::Unknown => "unknown".into(),
        }
    }
}

fn kind(parts: &http::request::Parts) -> Kind {
    let path = parts.uri.path();
    let is = |method: Method| parts.method == method;
    let content_type = parts
        .headers
        .get(CONTENT_TYPE)
        .map_or(&b""[..], |value| value.as_bytes());
    if is(Method::POST) && is_grpc(content_type) {
        // Over HTTP/1.1 there are no trailers to say how a call went.
        return match (parts.version >= Version::HTTP_2, is_open(path)) {
            (false, _) => Kind::Unknown,
            (true, true) => Kind::Open,
            (true, false) => Kind::Grpc,
        };
    }
    if is(Method::POST)
        && let Some(shape) = Shape::at(path)
    {
        return Kind::Model(shape);
    }
    match path {
        callback::WECHAT | callback::ALIPAY if is(Method::POST) => Kind::Callback,
        HEALTH if is(Method::GET) || is(Method::HEAD) => Kind::Health,
        _ if is(Method::GET) && is_models(path) => Kind::Models,
        _ if path.starts_with("/v1/") => Kind::UnknownOpenAi,
        _ if is(Method::POST) && is_json(content_type) => Kind::Json,
        _ => Kind::Unknown,
    }
}

fn is_models(path: &str) -> bool {
    let rest = path.strip_prefix(models::MODELS);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// `application/grpc`, `application/grpc+proto`, and not `application/grpc-web`.
fn is_grpc(content_type: &[u8]) -> bool {
    let rest = content_type.strip_prefix(b"application/grpc");
    rest.is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';')))
}

fn is_json(content_type: &[u8]) -> bool {
    let kind = content_type
        .split(|&byte| byte == b';')
        .next()
        .unwrap_or_default();
    kind.trim_ascii().eq_ignore_ascii_case(b"application/json")
}

/// A method that is there, asked for in a way that it is not.
fn unsupported() -> Response<Body> {
    let message = "use POST with application/json, or application/grpc over HTTP/2";
    let body = json!({"code": 3, "message": message, "details": []});
    json_response(StatusCode::UNSUPPORTED_MEDIA_TYPE, &body)
}

/// The refusal in the shape that the client expects.
fn refuse(visit: &Visit, status: &Status) -> Response<Body> {
    match visit.kind {
        Kind::Grpc | Kind::Open => status.clone().into_http(),
        Kind::Model(_) | Kind::Models | Kind::UnknownOpenAi => openai_error::response(status),
        Kind::Callback => callback::failed(status),
        Kind::Json | Kind::Health | Kind::Unknown => refusal_json::response(status),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_what_its_path_and_content_type_say() {
        let cases = [
            ("POST", "/a.B/C", "application/grpc", Kind::Grpc),
            ("POST", "/a.B/C", "application/grpc+proto", Kind::Grpc),
            ("POST", "/a.B/C", "application/grpc-web", Kind::Unknown),
            ("GET", "/a.B/C", "application/grpc", Kind::Unknown),
            (
                "POST",
                "/grpc.health.v1.Health/Check",
                "application/grpc",
                Kind::Open,
            ),
            ("POST", "/a.B/C", "application/json", Kind::Json),
            (
                "POST",
                "/a.B/C",
                "application/JSON; charset=utf-8",
                Kind::Json,
            ),
            ("POST", "/a.B/C", "", Kind::Unknown),
            (
                "POST",
                "/v1/chat/completions",
                "application/json",
                Kind::Model(Shape::Chat),
            ),
            ("POST", "/v1/embeddings", "", Kind::Model(Shape::Embeddings)),
            ("POST", "/v1/responses", "", Kind::Model(Shape::Responses)),
            (
                "POST",
                "/v1/completions",
                "",
                Kind::Model(Shape::Completions),
            ),
            ("GET", "/v1/responses/resp_1", "", Kind::UnknownOpenAi),
            ("GET", "/v1/chat/completions", "", Kind::UnknownOpenAi),
            ("GET", "/v1/models", "", Kind::Models),
            ("GET", "/v1/models/Qwen/Qwen3", "", Kind::Models),
            ("GET", "/v1/modelsx", "", Kind::UnknownOpenAi),
            (
                "POST",
                "/payments/wechat/callback",
                "application/json",
                Kind::Callback,
            ),
            (
                "POST",
                "/payments/alipay/callback",
                "application/x-www-form-urlencoded",
                Kind::Callback,
            ),
            ("GET", "/healthz", "", Kind::Health),
            ("GET", "/", "", Kind::Unknown),
        ];
        for (method, path, content_type, expected) in cases {
            let request = Request::builder()
                .method(method)
                .uri(path)
                .version(Version::HTTP_2)
                .header(CONTENT_TYPE, content_type);
            let (parts, ()) = request.body(()).unwrap().into_parts();
            assert_eq!(kind(&parts), expected, "{method} {path} {content_type}");
        }
    }
}
