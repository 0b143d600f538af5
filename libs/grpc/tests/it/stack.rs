//! What every call passes, by the layers themselves. One test: metrics and spans are the
//! process's.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    sync::atomic::Ordering,
    task::{Context as Task, Poll},
    time::Duration,
};

use http::{Request, Response};
use metrics_exporter_prometheus::PrometheusBuilder;
use opentelemetry::{global, trace::TracerProvider};
use opentelemetry_sdk::{
    propagation::TraceContextPropagator,
    trace::{InMemorySpanExporter, SdkTracerProvider},
};
use tonic::{Code, Status, body::Body};
use tonic_types::StatusExt;
use tower::{Layer, Service, ServiceExt};
use tracing_subscriber::layer::SubscriberExt;
use wanwu_grpc::{GrpcConfig, Routes, code_of, server_stack};

use crate::stand::{Handler, Stand, ask};

const PATH: &str = "/wanwu.identity.v1.StandingService/GetStanding";

/// Refuses everybody, as the access layer does.
#[derive(Clone)]
struct Refuse;

impl<S> Layer<S> for Refuse {
    type Service = Self;

    fn layer(&self, _: S) -> Self {
        Self
    }
}

impl Service<Request<Body>> for Refuse {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Task<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<Body>) -> Self::Future {
        ready(Ok(Status::unauthenticated("who are you").into_http()))
    }
}

#[tokio::test]
async fn a_refused_call_is_counted_and_traced() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let metrics = recorder.handle();
    let _counting = metrics::set_default_local_recorder(&recorder);
    global::set_text_map_propagator(TraceContextPropagator::new());
    let spans = InMemorySpanExporter::default();
    let provider = SdkTracerProvider::builder()
        .with_simple_exporter(spans.clone())
        .build();
    let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
    let subscriber = tracing_subscriber::registry().with(layer);
    let _tracing = tracing::subscriber::set_default(subscriber);

    let stack = server_stack(&GrpcConfig::default(), Refuse, Routes::default());
    let request = Request::post(PATH)
        .header(
            "traceparent",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        )
        .body(Body::empty())
        .unwrap();
    let response = stack.oneshot(request).await.unwrap();
    assert_eq!(code_of(response.headers()), Some(Code::Unauthenticated));
    drop(response);

    let text = metrics.render();
    let counted = text.lines().any(|line| {
        line.starts_with("wanwu_rpc_seconds_count")
            && line.contains(PATH)
            && line.contains("UNAUTHENTICATED")
    });
    assert!(counted, "{text}");
    assert!(text.contains("wanwu_rpc_in_flight 0"), "{text}");

    let spans = spans.get_finished_spans().unwrap();
    let span = spans
        .iter()
        .find(|span| span.name == PATH[1..])
        .expect("a span");
    assert_eq!(
        span.span_context.trace_id().to_string(),
        "0af7651916cd43dd8448eb211c80319c"
    );
    assert_eq!(span.parent_span_id.to_string(), "b7ad6b7169203331");
    assert_eq!(span.span_kind, opentelemetry::trace::SpanKind::Server);
    let code = span
        .attributes
        .iter()
        .find(|a| a.key.as_str() == "rpc.grpc.status_code")
        .unwrap();
    assert_eq!(code.value, opentelemetry::Value::I64(16));
    assert!(
        span.attributes
            .iter()
            .any(|a| a.key.as_str() == "wanwu.request_id")
    );
}

#[tokio::test]
async fn a_panic_is_an_internal_error_and_the_server_lives_on() {
    let stand = Stand::start().await;
    let mut client = stand.client("edge");
    let error = client.get_standing(ask("panic")).await.unwrap_err();
    assert_eq!(error.code(), Code::Internal);
    assert!(!error.message().contains("asked for"));
    client.get_standing(ask("")).await.unwrap();
}

#[tokio::test]
async fn a_call_beyond_the_limit_is_refused_at_once() {
    let stand = Stand::start_with(Handler::default(), |config| config.max_calls = 1).await;
    let mut client = stand.client("edge");
    let mut busy = client.clone();
    let slow = tokio::spawn(async move { busy.get_standing(ask("slow")).await });
    while stand.handler.calls.load(Ordering::SeqCst) == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let error = client.get_standing(ask("")).await.unwrap_err();
    assert_eq!(error.code(), Code::ResourceExhausted);
    assert!(error.get_details_retry_info().is_some());
    slow.await.unwrap().unwrap();
    client.get_standing(ask("")).await.unwrap();
}

#[tokio::test]
async fn a_body_beyond_the_limit_is_refused() {
    let stand = Stand::start_with(Handler::default(), |config| config.max_body = 1_000).await;
    let mut client = stand.client("edge");
    client.get_standing(ask(&"a".repeat(900))).await.unwrap();
    let error = client
        .get_standing(ask(&"a".repeat(1_100)))
        .await
        .unwrap_err();
    assert_eq!(error.code(), Code::ResourceExhausted);
    assert_eq!(error.get_details_error_info().unwrap().reason, "TOO_LARGE");
}
