use std::fmt;

use chrono::{SecondsFormat, Utc};
use serde_json::{Map, Value};
use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    field::RecordFields,
    fmt::{FmtContext, FormatEvent, FormatFields, format::Writer},
    registry::LookupSpan,
};

use crate::request_id::{RequestId, RequestIdLayer};

/// A log line as one JSON object: time, level, target, message, the event's fields, and what
/// leads to the trace.
pub(crate) struct JsonLog {
    pub(crate) service: String,
    pub(crate) requests: RequestIdLayer,
}

/// Writes nothing of a span: a line shows of its spans only what leads to the trace, so that their fields
/// need not become text at every call.
pub(crate) struct NoFields;

impl<'w> FormatFields<'w> for NoFields {
    fn format_fields<R: RecordFields>(&self, _: Writer<'w>, _: R) -> fmt::Result {
        Ok(())
    }
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
            if let Some(ids) = self.requests.trace(&span.id()) {
                put("trace_id", ids.trace_id().to_string());
                put("span_id", ids.span_id().to_string());
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

#[cfg(test)]
mod tests {
    use std::{io, sync::Arc};

    use opentelemetry::trace::TracerProvider;
    use opentelemetry_sdk::trace::SdkTracerProvider;
    use parking_lot::Mutex;
    use tracing_subscriber::{Layer, layer::SubscriberExt};

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(log: impl FnOnce()) -> Vec<Value> {
        let lines = Lines::default();
        let writer = lines.clone();
        let requests = RequestIdLayer::default();
        let logs = tracing_subscriber::fmt::layer()
            .event_format(JsonLog {
                service: "billing".to_owned(),
                requests: requests.clone(),
            })
            .fmt_fields(NoFields)
            .with_writer(move || writer.clone())
            .boxed();
        let tracer = SdkTracerProvider::builder().build().tracer("test");
        let spans = tracing_opentelemetry::layer().with_tracer(tracer);
        let subscriber = tracing_subscriber::registry()
            .with(requests)
            .with(spans)
            .with(logs);
        tracing::subscriber::with_default(subscriber, log);
        let bytes = lines.0.lock();
        let text = std::str::from_utf8(&bytes).unwrap();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    #[test]
    fn a_line_has_what_leads_to_the_request() {
        let lines = logged(|| {
            let call = tracing::info_span!("rpc.server", wanwu.request_id = "r-1");
            let _entered = call.enter();
            let inner = tracing::info_span!("pay");
            let _entered = inner.enter();
            tracing::warn!(order = 7, paid = true, "late");
        });
        let line = &lines[0];
        assert_eq!(line["message"], "late");
        assert_eq!((&line["order"], &line["paid"]), (&7.into(), &true.into()));
        assert_eq!(line["level"], "WARN");
        assert_eq!(line["service"], "billing");
        assert_eq!(line["span"], "pay");
        assert_eq!(line["request_id"], "r-1");
        assert_eq!(line["trace_id"].as_str().unwrap().len(), 32);
        assert_eq!(line["span_id"].as_str().unwrap().len(), 16);
    }

    #[test]
    fn an_event_cannot_forge_the_lines_own_keys_or_another_line() {
        let lines = logged(|| {
            tracing::info!(
                service = "edge",
                level = "x",
                "two\nlines\" \"service\":\"edge\""
            );
        });
        assert_eq!(lines.len(), 1);
        assert_eq!(lines[0]["service"], "billing");
        assert_eq!(lines[0]["field.service"], "edge");
    }
}
