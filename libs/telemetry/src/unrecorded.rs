//! The steps of a request that nobody records need no spans: its first span in this process carries the
//! ids that logs show and calls carry on, and the rest would be made, entered at each poll and thrown
//! away. In production that is nine requests in ten.

use std::sync::{Arc, OnceLock};

use opentelemetry::trace::TraceContextExt;
use tracing::{Dispatch, Metadata, Subscriber, dispatcher::WeakDispatch, subscriber::Interest};
use tracing_opentelemetry::get_otel_context;
use tracing_subscriber::{
    Layer,
    layer::Context,
    registry::{LookupSpan, SpanRef},
};

/// Lets no span be made inside one that is not recorded.
#[derive(Clone, Default)]
pub(crate) struct UnrecordedLayer {
    dispatch: Arc<OnceLock<WeakDispatch>>,
}

/// Whether a span is recorded: decided once, when its first child is made.
#[derive(Clone, Copy)]
struct Recorded(bool);

impl UnrecordedLayer {
    fn is_recorded<S: for<'a> LookupSpan<'a>>(&self, span: &SpanRef<'_, S>) -> bool {
        if let Some(Recorded(known)) = span.extensions().get() {
            return *known;
        }
        let dispatch = self.dispatch.get().and_then(WeakDispatch::upgrade);
        let context = dispatch.and_then(|dispatch| get_otel_context(&span.id(), &dispatch));
        // A span that OpenTelemetry does not know says nothing.
        let recorded = context.is_none_or(|it| it.span().span_context().is_sampled());
        span.extensions_mut().replace(Recorded(recorded));
        recorded
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for UnrecordedLayer {
    fn on_register_dispatch(&self, dispatch: &Dispatch) {
        // Asking for the current one while it makes a span may find none.
        let _ = self.dispatch.set(dispatch.downgrade());
    }

    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if metadata.is_span() {
            Interest::sometimes()
        } else {
            Interest::always()
        }
    }

    fn enabled(&self, metadata: &Metadata<'_>, context: Context<'_, S>) -> bool {
        !metadata.is_span()
            || context
                .lookup_current()
                .is_none_or(|around| self.is_recorded(&around))
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry::trace::TracerProvider;
    use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};
    use tracing::info_span;
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    fn with(sampler: Sampler, test: impl FnOnce()) {
        let tracer = SdkTracerProvider::builder().with_sampler(sampler).build();
        let spans = tracing_opentelemetry::layer().with_tracer(tracer.tracer("test"));
        let subscriber = tracing_subscriber::registry()
            .with(UnrecordedLayer::default())
            .with(spans);
        tracing::subscriber::with_default(subscriber, test);
    }

    /// Whether there are spans of a request, of a step of it, and of another request.
    fn made() -> [bool; 3] {
        let request = info_span!("request");
        let step = request.in_scope(|| {
            // The second time it is known.
            [info_span!("step"), info_span!("step")].map(|step| !step.is_disabled())
        });
        assert_eq!(step[0], step[1]);
        let other = info_span!("other");
        [!request.is_disabled(), step[0], !other.is_disabled()]
    }

    #[test]
    fn steps_have_spans_only_where_their_request_is_recorded() {
        with(Sampler::AlwaysOff, || {
            assert_eq!(made(), [true, false, true])
        });
        with(Sampler::AlwaysOn, || assert_eq!(made(), [true, true, true]));
    }

    #[test]
    fn what_an_unrecorded_step_starts_belongs_to_its_request() {
        with(Sampler::AlwaysOff, || {
            let request = info_span!("request");
            let around = request.in_scope(|| {
                let step = info_span!("step");
                step.in_scope(|| tracing::Span::current().id())
            });
            assert_eq!(around, request.id());
        });
    }
}
