use serde::Deserialize;

/// Section `[telemetry]` of a service's configuration.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TelemetryConfig {
    /// The collector's OTLP/gRPC address (`http://host:4317`); empty: spans are not exported.
    pub otlp_endpoint: String,
    /// The share of traces begun here that are recorded, 0 to 1. A caller's decision is kept.
    pub sample_ratio: f64,
    /// Which logs and spans are kept, as directives of `tracing_subscriber::EnvFilter`.
    pub log_filter: String,
    /// How log lines look.
    pub format: LogFormat,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// One JSON object a line.
    #[default]
    Json,
    /// For people.
    Text,
}

impl Default for TelemetryConfig {
    fn default() -> Self {
        Self {
            otlp_endpoint: String::new(),
            sample_ratio: 1.0,
            log_filter: "info".to_owned(),
            format: LogFormat::Json,
        }
    }
}
