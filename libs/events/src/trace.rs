//! W3C trace context across the bus: the span that publishes is the parent of the one that
//! consumes.

use std::collections::HashMap;

use opentelemetry::{
    global,
    propagation::{Extractor, Injector},
};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

/// The trace context of an event, as its two headers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct TraceContext {
    pub(crate) traceparent: Option<String>,
    pub(crate) tracestate: Option<String>,
}

/// Longer values are dropped: they are not ours.
const MAX_VALUE: usize = 512;

impl TraceContext {
    /// The context of `span`; without a span, that of whoever publishes.
    pub(crate) fn of(span: &Span) -> Self {
        let mut headers = Headers::default();
        let context = if span.is_disabled() {
            Span::current().context()
        } else {
            span.context()
        };
        global::get_text_map_propagator(|propagator| {
            propagator.inject_context(&context, &mut headers);
        });
        Self::new(
            headers.0.remove("traceparent"),
            headers.0.remove("tracestate"),
        )
    }

    /// A context that was kept or received.
    pub(crate) fn new(traceparent: Option<String>, tracestate: Option<String>) -> Self {
        let sound = |value: &String| !value.is_empty() && value.len() <= MAX_VALUE;
        Self {
            traceparent: traceparent.filter(sound),
            tracestate: tracestate.filter(sound),
        }
    }

    /// Makes this context the parent of `span`.
    pub(crate) fn adopt(&self, span: &Span) {
        if span.is_disabled() {
            return;
        }
        let mut headers = Headers::default();
        let values = [
            ("traceparent", &self.traceparent),
            ("tracestate", &self.tracestate),
        ];
        for (name, value) in values {
            if let Some(value) = value {
                headers.set(name, value.clone());
            }
        }
        let parent = global::get_text_map_propagator(|propagator| propagator.extract(&headers));
        // It fails where no exporter listens: then there is no trace to belong to.
        let _ = span.set_parent(parent);
    }
}

#[derive(Default)]
struct Headers(HashMap<String, String>);

impl Injector for Headers {
    fn set(&mut self, key: &str, value: String) {
        self.0.insert(key.to_owned(), value);
    }
}

impl Extractor for Headers {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(String::as_str).collect()
    }
}
