//! The span of a call that is answered, and the context that its own calls carry on.

use std::{
    future::Future,
    pin::Pin,
    task::{Context as Task, Poll},
    time::Duration,
};

use http::{Request, Response};
use opentelemetry::{global, trace::TraceContextExt};
use tonic::Code;
use tower::{Layer, Service};
use tracing::{Instrument, Span, field::Empty};
use tracing_opentelemetry::OpenTelemetrySpanExt;

use crate::{
    Context, Peer,
    call::{Ended, Within},
    client::parts,
    context::REQUEST_ID,
    deadline,
    header_carrier::FromHeaders,
    methods,
};

/// Opens the call's span and context.
#[derive(Clone, Copy)]
pub(super) struct TraceLayer {
    default_timeout: Duration,
}

#[derive(Clone)]
pub(super) struct Trace<S> {
    inner: S,
    default_timeout: Duration,
}

type Record = Box<dyn FnOnce(Code) + Send>;

impl TraceLayer {
    pub(super) fn new(default_timeout: Duration) -> Self {
        Self { default_timeout }
    }
}

impl<S> Layer<S> for TraceLayer {
    type Service = Trace<S>;

    fn layer(&self, inner: S) -> Trace<S> {
        Trace {
            inner,
            default_timeout: self.default_timeout,
        }
    }
}

impl<S, R, B> Service<Request<R>> for Trace<S>
where
    S: Service<Request<R>, Response = Response<B>>,
    S::Future: Send + 'static,
    B: http_body::Body<Data = bytes::Bytes> + Unpin,
{
    type Response = Response<Within<Ended<B, Record>>>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, task: &mut Task<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(task)
    }

    fn call(&mut self, request: Request<R>) -> Self::Future {
        let context = context(&request, self.default_timeout);
        let span = span(&request, &context);
        let answer = {
            let _entered = span.enter();
            context.enter(|| self.inner.call(request))
        };
        let answer = context.clone().scope(answer).instrument(span.clone());
        Box::pin(async move {
            let (parts, body) = answer.await?.into_parts();
            let recorded = span.clone();
            let record: Record = Box::new(move |code| record(&recorded, code));
            let body = Ended::new(&parts.headers, body, record);
            Ok(Response::from_parts(
                parts,
                Within {
                    body,
                    span,
                    context,
                },
            ))
        })
    }
}

fn context<R>(request: &Request<R>, default_timeout: Duration) -> Context {
    let request_id = request
        .headers()
        .get(REQUEST_ID)
        .and_then(|id| id.to_str().ok());
    let context = request_id.map_or_else(Context::begin, Context::of);
    match deadline::read(request.headers()) {
        Some(timeout) => context.within(timeout),
        None if methods::is_streaming(request.uri().path()) => context,
        None => context.within(default_timeout),
    }
}

fn span<R>(request: &Request<R>, context: &Context) -> Span {
    let parent = global::get_text_map_propagator(|propagator| {
        propagator.extract(&FromHeaders(request.headers()))
    });
    let (is_valid, is_sampled) = {
        let caller = parent.span();
        let caller = caller.span_context();
        (caller.is_valid(), caller.is_sampled())
    };
    let span = if is_valid && !is_sampled {
        // Its caller's decision is kept: nobody records it, and only its ids are of use.
        tracing::info_span!("rpc.server", wanwu.request_id = context.request_id())
    } else {
        described(request, context)
    };
    if is_valid && !span.is_disabled() {
        // It fails where no exporter listens: then there is no trace to belong to.
        let _ = span.set_parent(parent);
    }
    span
}

/// The span of a call that somebody may record.
fn described<R>(request: &Request<R>, context: &Context) -> Span {
    let path = request.uri().path();
    let (service, method) = parts(path);
    tracing::info_span!(
        "rpc.server",
        otel.name = path.strip_prefix('/').unwrap_or(path),
        otel.kind = "server",
        otel.status_code = Empty,
        rpc.system = "grpc",
        rpc.service = service,
        rpc.method = method,
        rpc.grpc.status_code = Empty,
        peer.service = request.extensions().get().map_or("", Peer::service),
        wanwu.request_id = context.request_id(),
    )
}

fn record(span: &Span, code: Code) {
    if span.is_disabled() {
        return;
    }
    span.record("rpc.grpc.status_code", i32::from(code));
    // Only what is the server's own fault marks its span, as the conventions of OTel say.
    let fault = matches!(
        code,
        Code::Unknown
            | Code::DeadlineExceeded
            | Code::Unimplemented
            | Code::Internal
            | Code::Unavailable
            | Code::DataLoss
    );
    if fault {
        span.record("otel.status_code", "ERROR");
    }
}
