use std::{thread, time::Duration};

use opentelemetry::{KeyValue, global};
use opentelemetry_otlp::{ExporterBuildError, SpanExporter, WithExportConfig};
use opentelemetry_sdk::{
    Resource,
    propagation::TraceContextPropagator,
    trace::{BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracerProvider},
};
use tokio::runtime::Handle;

use crate::{TelemetryConfig, TelemetryError};

/// How long one export may take; the default of half a minute would outlive a shutdown.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(3);

/// Spans that are encoded and sent together: few enough that a processor is not long at it.
const EXPORT_SPANS: usize = 128;

/// How much the thread that encodes spans gives way to what answers calls (`nice(2)`): beside a busy thread
/// it still gets a tenth of the processor.
const EXPORT_NICENESS: i32 = 10;

/// Spans get ids and parents also when nothing exports them: log lines show them, and calls carry
/// them on.
pub(crate) fn provider(
    config: &TelemetryConfig,
    service: &str,
    environment: &str,
) -> Result<SdkTracerProvider, TelemetryError> {
    global::set_text_map_propagator(TraceContextPropagator::new());
    let resource = Resource::builder()
        .with_service_name(service.to_owned())
        .with_attributes([
            KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
            KeyValue::new("deployment.environment.name", environment.to_owned()),
        ])
        .build();
    let provider = SdkTracerProvider::builder().with_resource(resource);
    if config.otlp_endpoint.is_empty() {
        return Ok(provider.with_sampler(Sampler::AlwaysOff).build());
    }
    let processor = giving_way(|| processor(&config.otlp_endpoint))??;
    let ratio = Sampler::TraceIdRatioBased(config.sample_ratio);
    Ok(provider
        .with_sampler(Sampler::ParentBased(Box::new(ratio)))
        .with_span_processor(processor)
        .build())
}

/// Begins the thread that encodes spans; the runtime drives its connection.
fn processor(endpoint: &str) -> Result<BatchSpanProcessor, ExporterBuildError> {
    let exporter = SpanExporter::builder()
        .with_tonic()
        .with_endpoint(endpoint)
        .with_timeout(EXPORT_TIMEOUT)
        .build()?;
    let config = BatchConfigBuilder::default()
        .with_max_export_batch_size(EXPORT_SPANS)
        .build();
    Ok(BatchSpanProcessor::builder(exporter)
        .with_batch_config(config)
        .build())
}

/// Runs what begins threads so that these give way: on Linux a thread has the niceness of the one that began
/// it.
fn giving_way<T: Send>(begin: impl FnOnce() -> T + Send) -> Result<T, TelemetryError> {
    let runtime = Handle::current();
    let beginner = move || {
        // What may not be nicer encodes as before.
        let _ = rustix::process::nice(EXPORT_NICENESS);
        let _inside = runtime.enter();
        begin()
    };
    thread::scope(|scope| scope.spawn(beginner).join()).map_err(|_| TelemetryError::Thread)
}
