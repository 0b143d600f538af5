use std::collections::BTreeMap;

use opentelemetry_proto::tonic::{
    common::v1::{AnyValue, KeyValue, any_value::Value},
    trace::v1::Span as OtlpSpan,
};
use serde::{Deserialize, Serialize};

/// One span, as it is stored and answered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Span {
    /// 32 hex digits.
    pub trace_id: String,
    /// 16 hex digits.
    pub span_id: String,
    /// 16 hex digits; empty for the first.
    pub parent_span_id: String,
    /// The process that it comes from (`service.name`).
    pub service: String,
    /// What was done.
    pub name: String,
    /// `internal`, `server`, `client`, `producer` or `consumer`.
    pub kind: String,
    /// Nanoseconds since 1970.
    pub start_unix_nanos: u64,
    /// Nanoseconds since 1970.
    pub end_unix_nanos: u64,
    /// It ended with an error.
    pub error: bool,
    /// Its attributes as text.
    pub attributes: BTreeMap<String, String>,
    /// Its events: name and attributes.
    pub events: Vec<(String, BTreeMap<String, String>)>,
}

impl Span {
    pub(crate) fn from_otlp(service: &str, span: OtlpSpan) -> Self {
        Self {
            trace_id: hex::encode(&span.trace_id),
            span_id: hex::encode(&span.span_id),
            parent_span_id: hex::encode(&span.parent_span_id),
            service: service.to_owned(),
            name: span.name,
            kind: kind(span.kind).to_owned(),
            start_unix_nanos: span.start_time_unix_nano,
            end_unix_nanos: span.end_time_unix_nano,
            error: span.status.is_some_and(|status| status.code == 2),
            attributes: attributes(&span.attributes),
            events: span
                .events
                .into_iter()
                .map(|event| (event.name, attributes(&event.attributes)))
                .collect(),
        }
    }

    /// How long it took, in milliseconds.
    #[must_use]
    pub fn millis(&self) -> f64 {
        let nanos = self.end_unix_nanos.saturating_sub(self.start_unix_nanos);
        std::time::Duration::from_nanos(nanos).as_secs_f64() * 1e3
    }
}

/// Attributes as text, by name.
pub(crate) fn attributes(pairs: &[KeyValue]) -> BTreeMap<String, String> {
    pairs
        .iter()
        .map(|pair| (pair.key.clone(), text(pair.value.as_ref())))
        .collect()
}

fn text(value: Option<&AnyValue>) -> String {
    match value.and_then(|value| value.value.as_ref()) {
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::BoolValue(value)) => value.to_string(),
        Some(Value::IntValue(value)) => value.to_string(),
        Some(Value::DoubleValue(value)) => value.to_string(),
        Some(Value::BytesValue(bytes)) => hex::encode(bytes),
        // Lists and maps are kept readable too: a search for planted values reads them.
        Some(other) => format!("{other:?}"),
        None => String::new(),
    }
}

fn kind(kind: i32) -> &'static str {
    match kind {
        2 => "server",
        3 => "client",
        4 => "producer",
        5 => "consumer",
        _ => "internal",
    }
}
