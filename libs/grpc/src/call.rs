//! The body of an answer, watched until its end: what a call comes to is known only there.

use std::{
    pin::Pin,
    task::{Context as Task, Poll},
};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until};
use tonic::{Code, Status};
use tracing::Span;

use crate::{Context, deadline, grpc_status};

/// Calls `ended` exactly once: with the code of the answer, or with `Cancelled` when nobody
/// wanted its rest.
pub(crate) struct Ended<B, F: FnOnce(Code)> {
    body: B,
    ended: Option<F>,
}

impl<B, F: FnOnce(Code)> Ended<B, F> {
    /// An answer with these headers. A code in the headers means that no body follows.
    pub(crate) fn new(headers: &HeaderMap, body: B, ended: F) -> Self {
        let mut this = Self {
            body,
            ended: Some(ended),
        };
        if let Some(code) = grpc_status::code_of(headers) {
            this.end(code);
        }
        this
    }

    fn end(&mut self, code: Code) {
        if let Some(ended) = self.ended.take() {
            ended(code);
        }
    }
}

impl<B, F: FnOnce(Code)> Drop for Ended<B, F> {
    fn drop(&mut self) {
        self.end(Code::Cancelled);
    }
}

impl<B, F> Body for Ended<B, F>
where
    B: Body<Data = Bytes> + Unpin,
    F: FnOnce(Code) + Unpin,
{
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        task: &mut Task<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.body).poll_frame(task);
        match &polled {
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(trailers) = frame.trailers_ref() {
                    this.end(grpc_status::code_of(trailers).unwrap_or(Code::Unknown));
                }
            }
            Poll::Ready(Some(Err(_)) | None) => this.end(Code::Unknown),
            Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Polls the body inside the call's span and context, so that what a stream does on its way is
/// traced and has the call's deadline.
pub(crate) struct Within<B> {
    pub(crate) body: B,
    pub(crate) span: Span,
    pub(crate) context: Context,
}

impl<B: Body<Data = Bytes> + Unpin> Body for Within<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        task: &mut Task<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = self.get_mut();
        let _entered = this.span.enter();
        let body = &mut this.body;
        this.context.enter(|| Pin::new(body).poll_frame(task))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The deadline of a call: one timer, for its answer and then for the body of that.
pub(crate) struct Alarm(Option<Pin<Box<Sleep>>>);

impl Alarm {
    /// Rings at the deadline; without one never.
    pub(crate) fn at(deadline: Option<Instant>) -> Self {
        Self(deadline.map(|deadline| Box::pin(sleep_until(deadline))))
    }

    /// What comes before it rings; none: it rang.
    pub(crate) async fn before<F: Future>(&mut self, answer: F) -> Option<F::Output> {
        let Some(alarm) = &mut self.0 else {
            return Some(answer.await);
        };
        tokio::select! {
            biased;
            answer = answer => Some(answer),
            () = alarm => None,
        }
    }

    fn rings(&mut self, task: &mut Task<'_>) -> bool {
        let alarm = self.0.as_mut();
        alarm.is_some_and(|alarm| alarm.as_mut().poll(task).is_ready())
    }
}

/// Ends the body with DEADLINE_EXCEEDED when the deadline passes before its end.
pub(crate) struct Limited<B> {
    body: Option<B>,
    deadline: Alarm,
}

impl<B> Limited<B> {
    pub(crate) const fn new(body: B, deadline: Alarm) -> Self {
        Self {
            body: Some(body),
            deadline,
        }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Limited<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        task: &mut Task<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = self.get_mut();
        let Some(body) = &mut this.body else {
            return Poll::Ready(None);
        };
        if let Poll::Ready(frame) = Pin::new(body).poll_frame(task) {
            return Poll::Ready(frame);
        }
        if !this.deadline.rings(task) {
            return Poll::Pending;
        }
        // Whatever works on the rest is stopped with it.
        this.body = None;
        Poll::Ready(Some(Ok(Frame::trailers(trailers(&deadline::exceeded())))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body
            .as_ref()
            .map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

/// A status as the trailers of a body that had begun.
pub(crate) fn trailers(status: &Status) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    // It fails only for metadata that no header can hold; ours is empty.
    let _ = status.add_header(&mut trailers);
    trailers
}
