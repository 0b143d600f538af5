//! The span of a request, and what carries its trace in and out.

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, request::Parts};
use opentelemetry::{global, propagation::Extractor, trace::TraceContextExt};
use tracing::{Span, field::Empty};
use tracing_opentelemetry::OpenTelemetrySpanExt;

use crate::visit::Kind;

const TRACE_ID: HeaderName = HeaderName::from_static("wanwu-trace-id");

/// Reads trace context from headers.
struct FromHeaders<'a>(&'a HeaderMap);

impl Extractor for FromHeaders<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).and_then(|value| value.to_str().ok())
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(HeaderName::as_str).collect()
    }
}

/// Begins the span of a request; a client's own trace goes on in it.
pub fn begin(kind: Kind, route: &str, parts: &Parts, request_id: &str) -> Span {
    let span = tracing::info_span!(
        "edge.request",
        otel.name = route.strip_prefix('/').unwrap_or(route),
        otel.kind = "server",
        otel.status_code = Empty,
        http.request.method = parts.method.as_str(),
        http.route = route,
        http.response.status_code = Empty,
        rpc.grpc.status_code = Empty,
        edge.kind = kind.name(),
        wanwu.request_id = request_id,
    );
    if !span.is_disabled() {
        let parent = global::get_text_map_propagator(|carrier| {
            carrier.extract(&FromHeaders(&parts.headers))
        });
        if parent.span().span_context().is_valid() {
            // It fails where no exporter listens: then there is no trace to belong to.
            let _ = span.set_parent(parent);
        }
    }
    span
}

/// Tells the client the id of its trace; answers whether somebody records it.
pub fn show(span: &Span, headers: &mut HeaderMap) -> bool {
    if span.is_disabled() {
        return false;
    }
    let context = span.context();
    let current = context.span();
    let (trace_id, is_recorded) = {
        let ids = current.span_context();
        (ids.trace_id(), ids.is_sampled())
    };
    if let Ok(value) = HeaderValue::try_from(trace_id.to_string())
        && trace_id != opentelemetry::TraceId::INVALID
    {
        headers.insert(TRACE_ID, value);
    }
    is_recorded
}

/// Writes how it ended.
pub fn end(span: &Span, status: Option<StatusCode>, grpc: Option<i32>) {
    if span.is_disabled() {
        return;
    }
    if let Some(status) = status {
        span.record("http.response.status_code", status.as_u16());
    }
    if let Some(code) = grpc {
        span.record("rpc.grpc.status_code", code);
    }
    // UNKNOWN, DEADLINE_EXCEEDED, INTERNAL, UNAVAILABLE, DATA_LOSS are the server's fault.
    if status.is_some_and(|status| status.is_server_error())
        || matches!(grpc, Some(2 | 4 | 13 | 14 | 15))
    {
        span.record("otel.status_code", "ERROR");
    }
}
