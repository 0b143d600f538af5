use std::{
    fmt,
    sync::{Arc, OnceLock},
};

use opentelemetry::trace::{SpanContext, TraceContextExt};
use tracing::{
    Dispatch, Subscriber,
    dispatcher::WeakDispatch,
    field::{Field, Visit},
    span::{Attributes, Id},
};
use tracing_opentelemetry::get_otel_context;
use tracing_subscriber::{Layer, layer::Context, registry::LookupSpan};

/// The field of a span that holds the id of the request.
pub(crate) const FIELD: &str = "wanwu.request_id";

/// The id of the request that a span works for.
pub(crate) struct RequestId(pub(crate) String);

/// Keeps what log lines show beside their own: the id of the request, at the span that carries it,
/// and the way to the spans' trace ids.
#[derive(Clone, Default)]
pub(crate) struct RequestIdLayer {
    dispatch: Arc<OnceLock<WeakDispatch>>,
}

impl RequestIdLayer {
    /// The ids of a span's trace, if it has any.
    pub(crate) fn trace(&self, span: &Id) -> Option<SpanContext> {
        let dispatch = self.dispatch.get()?.upgrade()?;
        let context = get_otel_context(span, &dispatch)?;
        let ids = context.span().span_context().clone();
        ids.is_valid().then_some(ids)
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for RequestIdLayer {
    fn on_register_dispatch(&self, dispatch: &Dispatch) {
        // Asking for the current one while it handles an event may find none.
        let _ = self.dispatch.set(dispatch.downgrade());
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        if attributes.metadata().fields().field(FIELD).is_none() {
            return;
        }
        let mut visitor = Find(None);
        attributes.record(&mut visitor);
        if let (Some(request_id), Some(span)) = (visitor.0, context.span(id)) {
            span.extensions_mut().insert(RequestId(request_id));
        }
    }
}

struct Find(Option<String>);

impl Visit for Find {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == FIELD {
            self.0 = Some(value.to_owned());
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == FIELD {
            self.0 = Some(format!("{value:?}"));
        }
    }
}
