use opentelemetry::{Array, StringValue, Value};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

/// Sets an attribute of a span that is a list of words: a field of `tracing` could only be their text. Where
/// the span is disabled nothing happens.
pub fn set_words(span: &Span, name: &'static str, words: impl IntoIterator<Item = &'static str>) {
    let words: Vec<StringValue> = words.into_iter().map(StringValue::from).collect();
    span.set_attribute(name, Value::Array(Array::String(words)));
}
