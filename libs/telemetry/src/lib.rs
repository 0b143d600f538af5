//! Logs, traces and metrics of a process.
//!
//! Logs are JSON lines on stdout with the trace's id; spans go to an OTLP collector by gRPC;
//! metrics are kept in memory and rendered as Prometheus text. [`init`] starts all three and
//! returns a [`Guard`]; nothing else is global.

mod attribute;
mod buckets;
mod config;
mod json_log;
mod metrics;
mod request_id;
mod start;
mod traces;
mod unrecorded;

pub use attribute::set_words;
pub use buckets::GEN_AI_SECONDS;
pub use config::{LogFormat, TelemetryConfig};
pub use metrics::Metrics;
pub use start::{Guard, TelemetryError, init};
