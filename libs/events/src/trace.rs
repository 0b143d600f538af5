//! W3C trace context across the bus: the span that publishes is the parent of the one that
//! consumes.

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

const TRACEPARENT: &str = "traceparent";
const TRACESTATE: &str = "tracestate";
/// Longer values are dropped: they are not ours.
const MAX_VALUE: usize = 512;

impl TraceContext {
    /// The context of `span`; without a span, that of whoever publishes.
    pub(crate) fn of(span: &Span) -> Self {
        let mut carried = Self::default();
        let context = if span.is_disabled() {
            Span::current().context()
        } else {
            span.context()
        };
        global::get_text_map_propagator(|propagator| {
            propagator.inject_context(&context, &mut carried);
        });
        Self::new(carried.traceparent, carried.tracestate)
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
        let parent = global::get_text_map_propagator(|propagator| propagator.extract(self));
        // It fails where no exporter listens: then there is no trace to belong to.
        let _ = span.set_parent(parent);
    }
}

impl Injector for TraceContext {
    fn set(&mut self, key: &str, value: String) {
        match key {
            TRACEPARENT => self.traceparent = Some(value),
            TRACESTATE => self.tracestate = Some(value),
            // Nothing else is kept with an event.
            _ => {}
        }
    }
}

impl Extractor for TraceContext {
    fn get(&self, key: &str) -> Option<&str> {
        match key {
            TRACEPARENT => self.traceparent.as_deref(),
            TRACESTATE => self.tracestate.as_deref(),
            _ => None,
        }
    }

    fn keys(&self) -> Vec<&str> {
        let keys = [TRACEPARENT, TRACESTATE].into_iter();
        keys.filter(|key| self.get(key).is_some()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_context_is_carried_as_its_two_headers_and_nothing_else_is() {
        let mut carried = TraceContext::default();
        assert!(carried.keys().is_empty());
        for (key, value) in [
            (TRACEPARENT, "parent"),
            (TRACESTATE, "a=b"),
            ("baggage", "c=d"),
        ] {
            carried.set(key, value.to_owned());
        }
        assert_eq!(carried.keys(), [TRACEPARENT, TRACESTATE]);
        assert_eq!(carried.get(TRACEPARENT), Some("parent"));
        assert_eq!(carried.get(TRACESTATE), Some("a=b"));
        assert_eq!(carried.get("baggage"), None);
    }

    #[test]
    fn an_empty_value_and_one_that_is_too_long_are_none() {
        let long = "x".repeat(MAX_VALUE + 1);
        let context = TraceContext::new(Some(long), Some(String::new()));
        assert_eq!(context, TraceContext::default());
    }
}
