use std::{error::Error, time::Duration};

use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::ExporterBuildError;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing_subscriber::{
    EnvFilter, Layer, Registry,
    filter::{FilterFn, ParseError},
    layer::SubscriberExt,
    util::{SubscriberInitExt, TryInitError},
};

use crate::{
    LogFormat, Metrics, TelemetryConfig,
    json_log::{JsonLog, NoFields},
    request_id::RequestIdLayer,
    traces,
    unrecorded::UnrecordedLayer,
};

/// Keeps the telemetry of the process alive.
pub struct Guard {
    tracer: SdkTracerProvider,
    metrics: Metrics,
}

/// The telemetry cannot start.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter has the wrong shape.
    #[error("telemetry.log_filter is not a list of directives")]
    Filter(#[from] ParseError),
    /// The ratio is out of its range.
    #[error("telemetry.sample_ratio must be from 0 to 1")]
    SampleRatio,
    /// The exporter refuses the endpoint.
    #[error("telemetry.otlp_endpoint cannot be used")]
    Exporter(#[from] ExporterBuildError),
    /// The thread that begins the exporter's died.
    #[error("the exporter's thread cannot begin")]
    Thread,
    /// There is a subscriber already.
    #[error("the process logs already")]
    Logs(#[from] TryInitError),
    /// There is a recorder already.
    #[error("the process counts already")]
    Metrics(#[source] Box<dyn Error + Send + Sync>),
}

/// The longest time that a shutdown waits for the last spans.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(5);

/// What carries spans away must not make spans of its own, or it never ends.
const EXPORTER_TARGETS: [&str; 6] = [
    "h2",
    "hyper",
    "hyper_util",
    "tonic",
    "tower",
    "opentelemetry",
];

/// Starts logs, traces and metrics of the process. Call it once, inside a multi-thread runtime:
/// spans leave by a thread of their own, whose connection the runtime drives.
pub fn init(
    config: &TelemetryConfig,
    service: &str,
    environment: &str,
) -> Result<Guard, TelemetryError> {
    if !(0.0..=1.0).contains(&config.sample_ratio) {
        return Err(TelemetryError::SampleRatio);
    }
    let filter: EnvFilter = config.log_filter.parse()?;
    let tracer = traces::provider(config, service, environment)?;
    let metrics =
        Metrics::install(service).map_err(|error| TelemetryError::Metrics(error.into()))?;

    let spans = tracing_opentelemetry::layer()
        .with_tracer(tracer.tracer("wanwu"))
        .with_location(false)
        .with_threads(false)
        .with_target(false)
        .with_tracked_inactivity(false)
        // Parents are found by spans alone: nothing here asks OpenTelemetry for its current context,
        // which would be set at each poll of each span.
        .with_context_activation(false)
        // An error's text may hold what somebody typed: it belongs in no span.
        .with_error_fields_to_exceptions(false)
        .with_error_records_to_exceptions(false)
        .with_filter(FilterFn::new(|metadata| {
            metadata.is_span() && !exports(metadata.target())
        }));
    let requests = RequestIdLayer::default();
    let logs: Box<dyn Layer<_> + Send + Sync> = match config.format {
        LogFormat::Json => tracing_subscriber::fmt::layer()
            .event_format(JsonLog {
                service: service.to_owned(),
                requests: requests.clone(),
            })
            .fmt_fields(NoFields)
            .boxed(),
        LogFormat::Text => tracing_subscriber::fmt::layer().compact().boxed(),
    };
    // The filter is outermost: below a layer without a hint of its own it could say of no callsite that it is
    // never wanted, and each of HTTP/2's hundred for a frame would ask all the layers anew.
    Registry::default()
        .with(UnrecordedLayer::default())
        .with(requests)
        .with(spans)
        .with(logs)
        .with(filter)
        .try_init()?;
    Ok(Guard { tracer, metrics })
}

fn exports(target: &str) -> bool {
    let root = target.split("::").next().unwrap_or(target);
    EXPORTER_TARGETS.contains(&root) || root.starts_with("opentelemetry")
}

impl Guard {
    /// The metrics of this process.
    #[must_use]
    pub fn metrics(&self) -> Metrics {
        self.metrics.clone()
    }

    /// Sends the last spans. It takes at most 5 seconds, also when the collector is silent.
    pub async fn shutdown(self) {
        // The exporter waits by blocking: on a runtime thread it could wait for itself.
        let shutdown = tokio::task::spawn_blocking(move || {
            self.tracer.shutdown_with_timeout(SHUTDOWN_TIMEOUT)
        });
        match tokio::time::timeout(SHUTDOWN_TIMEOUT, shutdown).await {
            Ok(Ok(Ok(()))) => {}
            Ok(Ok(Err(error))) => tracing::warn!(%error, "the last spans were not sent"),
            Ok(Err(_)) | Err(_) => tracing::warn!("the last spans were not sent in time"),
        }
    }
}
