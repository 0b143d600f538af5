//! The telemetry of a process, against a collector on loopback. Each test needs a process of its
//! own, which is how the tests are run.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends")]

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use opentelemetry_proto::tonic::{
    collector::trace::v1::{
        ExportTraceServiceRequest, ExportTraceServiceResponse,
        trace_service_server::{TraceService, TraceServiceServer},
    },
    common::v1::any_value::Value,
    trace::v1::Span,
};
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status};
use tracing::level_filters::LevelFilter;
use wanwu_telemetry::{TelemetryConfig, TelemetryError, init, set_words};

#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Vec<Span>>>);

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let scopes = request
            .into_inner()
            .resource_spans
            .into_iter()
            .flat_map(|r| r.scope_spans);
        self.0.lock().extend(scopes.flat_map(|scope| scope.spans));
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// A collector, and where it listens.
async fn collect() -> (Collector, SocketAddr) {
    let (listener, address) = listen().await;
    let collector = Collector::default();
    let server = tonic::transport::Server::builder()
        .add_service(TraceServiceServer::new(collector.clone()))
        .serve_with_incoming(TcpListenerStream::new(listener));
    tokio::spawn(server);
    (collector, address)
}

fn config(collector: SocketAddr) -> TelemetryConfig {
    TelemetryConfig {
        otlp_endpoint: format!("http://{collector}"),
        ..TelemetryConfig::default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn spans_reach_the_collector_at_the_latest_with_the_end_and_errors_do_not() {
    let (collector, address) = collect().await;
    let guard = init(&config(address), "billing", "local").unwrap();
    {
        let span = tracing::info_span!("pay", order = 7);
        let _entered = span.enter();
        tracing::error!(error = "13800138000 typed this", "failed");
        metrics::counter!("wanwu_test_total").increment(2);
        metrics::histogram!("wanwu_test_seconds").record(0.003);
        metrics::histogram!("gen_ai_client_token_usage").record(3.0);
        metrics::histogram!("gen_ai_server_request_duration_seconds").record(50.0);
    }
    let rendered = guard.metrics().render();
    guard.shutdown().await;

    let spans = collector.0.lock();
    assert_eq!(spans.len(), 1, "the exporter made spans of its own");
    assert_eq!(spans[0].name, "pay");
    let whole = format!("{spans:?}");
    assert!(whole.contains("order"), "{whole}");
    assert!(
        !whole.contains("13800138000"),
        "what somebody typed is in a span: {whole}"
    );
    assert!(
        rendered.contains("wanwu_test_total{service=\"billing\"} 2"),
        "{rendered}"
    );
    let bucket = |name: &str, bound: &str, count: u32| {
        let series = format!("{name}_bucket{{service=\"billing\",le=\"{bound}\"}} {count}");
        assert!(rendered.contains(&series), "{series}: {rendered}");
    };
    bucket("wanwu_test_seconds", "0.0025", 0);
    bucket("wanwu_test_seconds", "0.005", 1);
    // What OpenTelemetry's conventions name has their bounds, which are others.
    bucket("gen_ai_client_token_usage", "1", 0);
    bucket("gen_ai_client_token_usage", "4", 1);
    bucket("gen_ai_server_request_duration_seconds", "40.96", 0);
    bucket("gen_ai_server_request_duration_seconds", "81.92", 1);
}

/// OpenTelemetry gives a span its name when it starts, which is when something below it begins.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_span_has_the_name_that_it_was_told_before_its_first_step_and_a_list_is_one() {
    let (collector, address) = collect().await;
    let guard = init(&config(address), "inference-routing", "local").unwrap();
    let empty = tracing::field::Empty;
    tracing::info_span!("call", otel.name = "chat", late = empty).in_scope(|| {
        let span = tracing::Span::current();
        span.record("otel.name", "chat qwen");
        tracing::info_span!("step").in_scope(|| {});
        span.record("otel.name", "too late");
        span.record("late", 7_i64);
        set_words(&span, "reasons", ["stop", "length"]);
    });
    set_words(&tracing::Span::none(), "reasons", ["stop"]);
    guard.shutdown().await;

    let spans = collector.0.lock();
    let mut names: Vec<_> = spans.iter().map(|span| span.name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["chat qwen", "step"]);
    let call = spans.iter().find(|span| span.name == "chat qwen").unwrap();
    let value = |name: &str| {
        let attribute = call.attributes.iter().find(|it| it.key == name).unwrap();
        attribute.value.clone().unwrap().value.unwrap()
    };
    assert_eq!(value("late"), Value::IntValue(7));
    let Value::ArrayValue(list) = value("reasons") else {
        panic!("{:?}", value("reasons"))
    };
    let words: Vec<_> = list
        .values
        .into_iter()
        .map(|it| it.value.unwrap())
        .collect();
    let word = |text: &str| Value::StringValue(text.to_owned());
    assert_eq!(words, [word("stop"), word("length")]);
}

/// The niceness of a thread of this process, by the beginning of its name.
#[cfg(target_os = "linux")]
fn niceness(name: &str) -> Option<i32> {
    let threads = std::fs::read_dir("/proc/self/task").unwrap();
    let stats = threads.map(|thread| std::fs::read_to_string(thread.unwrap().path().join("stat")));
    let of_name = |stat: &String| stat.contains(&format!("({name}"));
    let stat = stats.filter_map(Result::ok).find(of_name)?;
    // Field 19 of proc(5), 17 after the name.
    let field = stat.rsplit_once(") ")?.1.split(' ').nth(16)?;
    field.parse().ok()
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_thread_that_encodes_spans_gives_way_to_those_that_answer() {
    let (_listener, address) = listen().await;
    let _guard = init(&config(address), "edge", "local").unwrap();
    // A thread names itself, some time after it was begun.
    let begin = Instant::now();
    while niceness("OpenTelemetry").is_none() && begin.elapsed() < Duration::from_secs(10) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // What runs the tests may be nice itself; nobody is nicer than 19.
    let own = niceness("tokio").unwrap();
    assert_eq!(niceness("OpenTelemetry"), Some((own + 10).min(19)));
    assert!(own < 19, "it cannot be told apart at {own}");
}

/// HTTP/2 alone has a hundred callsites for a frame: what the filter leaves out for good must be known to the
/// callsite itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_filter_leaves_out_is_not_asked_about_again() {
    let (_listener, address) = listen().await;
    let _guard = init(&config(address), "edge", "local").unwrap();
    assert_eq!(LevelFilter::current(), LevelFilter::INFO);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_takes_everything_and_answers_nothing_costs_five_seconds() {
    let (_listener, address) = listen().await;
    let guard = init(&config(address), "billing", "local").unwrap();
    tracing::info_span!("pay").in_scope(|| {});
    let begun = Instant::now();
    guard.shutdown().await;
    assert!(
        begun.elapsed() < Duration::from_millis(5_500),
        "{:?}",
        begun.elapsed()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_configuration_that_makes_no_sense_is_refused() {
    let ratio = TelemetryConfig {
        sample_ratio: 1.5,
        ..TelemetryConfig::default()
    };
    assert!(matches!(
        init(&ratio, "billing", "local"),
        Err(TelemetryError::SampleRatio)
    ));
    let filter = TelemetryConfig {
        log_filter: "a=b=c".to_owned(),
        ..TelemetryConfig::default()
    };
    assert!(matches!(
        init(&filter, "billing", "local"),
        Err(TelemetryError::Filter(_))
    ));
}
