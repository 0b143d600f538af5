use std::sync::OnceLock;

use opentelemetry::{
    global,
    trace::{SpanId, SpanKind, TracerProvider},
};
use opentelemetry_sdk::{
    propagation::TraceContextPropagator,
    trace::{InMemorySpanExporter, SdkTracerProvider, SpanData},
};
use sqlx::PgPool;
use tracing::{Instrument, info_span};
use tracing_subscriber::{layer::SubscriberExt, registry};
use wanwu_events::publish;
use wanwu_ids::Ids;
use wanwu_testkit::wait_for;

use crate::bench::{Bench, Credit, PATIENCE, usage};

/// Records the spans of every test of this process: a recorder for one test only would miss spans
/// that another test met first.
pub fn recorder() -> &'static InMemorySpanExporter {
    static RECORDER: OnceLock<InMemorySpanExporter> = OnceLock::new();
    RECORDER.get_or_init(|| {
        global::set_text_map_propagator(TraceContextPropagator::new());
        let exporter = InMemorySpanExporter::default();
        let provider = SdkTracerProvider::builder()
            .with_simple_exporter(exporter.clone())
            .build();
        let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
        tracing::subscriber::set_global_default(registry().with(layer)).unwrap();
        exporter
    })
}

#[sqlx::test(migrations = false)]
async fn one_trace_shows_the_request_the_event_and_its_effect(pool: PgPool) {
    let mut bench = Bench::new(pool).await;
    bench.relay();
    bench.consume(&Credit::default());
    let telling = async {
        let mut tx = bench.pool.begin().await.unwrap();
        publish(&mut tx, &Ids::system(), &usage(1)).await.unwrap();
        tx.commit().await.unwrap();
    };
    telling.instrument(info_span!("the only request")).await;
    bench.wait_for_effects(1).await;
    let consumed = "events.consume wanwu.inference.v1.UsageRecorded";
    wait_for("the consumer's span", PATIENCE, || async {
        of_request().iter().any(|span| span.name == consumed)
    })
    .await;
    let spans = of_request();
    let request = find(&spans, "the only request");
    let published = find(&spans, "events.publish wanwu.inference.v1.UsageRecorded");
    let consumed = find(&spans, consumed);
    assert_eq!(request.parent_span_id, SpanId::INVALID);
    assert_eq!(published.parent_span_id, request.span_context.span_id());
    assert_eq!(consumed.parent_span_id, published.span_context.span_id());
    assert_eq!(published.span_kind, SpanKind::Producer);
    assert_eq!(consumed.span_kind, SpanKind::Consumer);
    bench.end().await;
}

/// The finished spans of the request's trace.
fn of_request() -> Vec<SpanData> {
    let mut spans = recorder().get_finished_spans().unwrap();
    let request = spans.iter().find(|span| span.name == "the only request");
    let trace = request.map(|span| span.span_context.trace_id());
    spans.retain(|span| Some(span.span_context.trace_id()) == trace);
    spans
}

fn find<'a>(spans: &'a [SpanData], name: &str) -> &'a SpanData {
    let names: Vec<_> = spans.iter().map(|span| &span.name).collect();
    spans
        .iter()
        .find(|span| span.name == name)
        .unwrap_or_else(|| panic!("{name} in {names:?}"))
}
