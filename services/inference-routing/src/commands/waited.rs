//! Spans of steps that mostly need not wait.

use std::{pin::pin, task::Poll};

use tracing::{Instrument, Span};

/// Takes a step; only one that has to wait gets a span, from where it begins to wait.
pub async fn waited<F: Future>(step: F, span: impl FnOnce() -> Span) -> F::Output {
    let mut step = pin!(step);
    match futures::poll!(step.as_mut()) {
        Poll::Ready(done) => done,
        Poll::Pending => step.instrument(span()).await,
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[tokio::test]
    async fn only_what_waits_has_a_span() {
        let made = Cell::new(0);
        let span = || {
            made.set(made.get() + 1);
            Span::none()
        };
        assert_eq!(waited(async { 7 }, span).await, 7);
        assert_eq!(made.get(), 0);
        waited(tokio::task::yield_now(), span).await;
        assert_eq!(made.get(), 1);
    }
}
