use std::time::Duration;

use opentelemetry::{KeyValue, global};
use opentelemetry_otlp::{ExporterBuildError, SpanExporter, WithExportConfig};
use opentelemetry_sdk::{
    Resource,
    propagation::TraceContextPropagator,
    trace::{Sampler, SdkTracerProvider},
};

use crate::TelemetryConfig;

/// How long one export may take; the default of half a minute would outlive a shutdown.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(3);

/// Spans get ids and parents also when nothing exports them: log lines show them, and calls carry
/// them on.
pub(crate) fn provider(
    config: &TelemetryConfig,
    service: &str,
    environment: &str,
) -> Result<SdkTracerProvider, ExporterBuildError> {
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
    let exporter = SpanExporter::builder()
        .with_tonic()
        .with_endpoint(&config.otlp_endpoint)
        .with_timeout(EXPORT_TIMEOUT)
        .build()?;
    let ratio = Sampler::TraceIdRatioBased(config.sample_ratio);
    Ok(provider
        .with_sampler(Sampler::ParentBased(Box::new(ratio)))
        .with_batch_exporter(exporter)
        .build())
}
