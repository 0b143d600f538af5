//! The span of a call that is made, and what carries it to the peer.

use http::HeaderMap;
use opentelemetry::global;
use tracing::{Span, field::Empty};
use tracing_opentelemetry::OpenTelemetrySpanExt;

use crate::header_carrier::ToHeaders;

/// Splits `/package.Service/Method`.
pub(crate) fn parts(path: &str) -> (&str, &str) {
    path.strip_prefix('/')
        .and_then(|path| path.split_once('/'))
        .unwrap_or((path, ""))
}

pub(super) fn span(path: &str, peer: &str, request_id: &str) -> Span {
    let (service, method) = parts(path);
    tracing::info_span!(
        "rpc.client",
        otel.name = path.strip_prefix('/').unwrap_or(path),
        otel.kind = "client",
        otel.status_code = Empty,
        rpc.system = "grpc",
        rpc.service = service,
        rpc.method = method,
        rpc.grpc.status_code = Empty,
        server.address = peer,
        wanwu.request_id = request_id,
    )
}

/// Writes the span into the headers of the call; without a span, that of whoever calls.
pub(super) fn inject(span: &Span, headers: &mut HeaderMap) {
    let context = if span.is_disabled() {
        Span::current().context()
    } else {
        span.context()
    };
    global::get_text_map_propagator(|propagator| {
        propagator.inject_context(&context, &mut ToHeaders(headers));
    });
}
