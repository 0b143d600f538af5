use std::fmt;

use chrono::{SecondsFormat, Utc};
use opentelemetry::trace::TraceContextExt;
use serde_json::{Map, Value};
use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
};
use tracing_opentelemetry::get_otel_context;
use tracing_subscriber::{
    fmt::{FmtContext, FormatEvent, FormatFields, format::Writer},
    registry::LookupSpan,
};

use crate::request_id::RequestId;

/// A log line as one JSON object: time, level, target, message, the event's fields, and what
/// leads to the trace.
pub(crate) struct JsonLog {
    pub(crate) service: String,
}

impl<S, N> FormatEvent<S, N> for JsonLog
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut line = Map::new();
        let mut put = |key: &str, value: String| line.insert(key.to_owned(), Value::String(value));
        put("time", now());
        put("level", event.metadata().level().to_string());
        put("service", self.service.clone());
        put("target", event.metadata().target().to_owned());
        if let Some(span) = context.lookup_current() {
            put("span", span.name().to_owned());
            let otel = tracing::dispatcher::get_default(|d| get_otel_context(&span.id(), d));
            if let Some(otel) = otel {
                let ids = otel.span().span_context().clone();
                if ids.is_valid() {
                    put("trace_id", ids.trace_id().to_string());
                    put("span_id", ids.span_id().to_string());
                }
            }
            let request_id = span
                .scope()
                .find_map(|span| span.extensions().get::<RequestId>().map(|id| id.0.clone()));
            if let Some(request_id) = request_id {
                put("request_id", request_id);
            }
        }
        event.record(&mut Fields(&mut line));
        let line = serde_json::to_string(&line).map_err(|_| fmt::Error)?;
        writeln!(writer, "{line}")
    }
}

#[allow(
    clippy::disallowed_methods,
    reason = "log lines tell the machine's time"
)]
fn now() -> String {
    Utc::now().to_rfc3339_opts(SecondsFormat::Micros, true)
}

struct Fields<'a>(&'a mut Map<String, Value>);

impl Fields<'_> {
    fn put(&mut self, field: &Field, value: Value) {
        // The line's own keys cannot be overwritten by an event.
        let name = field.name();
        let name = if self.0.contains_key(name) {
            format!("field.{name}")
        } else {
            name.to_owned()
        };
        self.0.insert(name, value);
    }
}

impl Visit for Fields<'_> {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value.into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value.into());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, format!("{value:?}").into());
    }
}
