use std::{
    future::Future,
    panic::AssertUnwindSafe,
    pin::Pin,
    task::{Context as Task, Poll},
};

use bytes::Bytes;
use futures::FutureExt;
use http::{Request, Response};
use http_body::{Body as HttpBody, Frame, SizeHint};
use tonic::{Code, Status, body::Body};
use tower::{Layer, Service};
use wanwu_proto::operations::v1::ErrorReason;

use crate::{call::trailers, platform_status};

/// Answers INTERNAL when a handler or the stream of its answer panics; the process lives on.
#[derive(Clone, Copy)]
pub(super) struct PanicLayer;

#[derive(Clone)]
pub(super) struct Panic<S>(S);

/// A body whose panics become its end.
pub(super) struct Calm<B>(Option<B>);

impl<S> Layer<S> for PanicLayer {
    type Service = Panic<S>;

    fn layer(&self, inner: S) -> Panic<S> {
        Panic(inner)
    }
}

impl<S, R, B> Service<Request<R>> for Panic<S>
where
    S: Service<Request<R>, Response = Response<B>>,
    S::Future: Send + 'static,
    B: HttpBody<Data = Bytes> + Unpin,
{
    type Response = Response<Calm<B>>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, task: &mut Task<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(task)
    }

    fn call(&mut self, request: Request<R>) -> Self::Future {
        let answer = AssertUnwindSafe(self.0.call(request)).catch_unwind();
        Box::pin(async move {
            match answer.await {
                Ok(answer) => Ok(answer?.map(|body| Calm(Some(body)))),
                Err(_) => Ok(panicked().into_http::<Body>().map(|_| Calm(None))),
            }
        })
    }
}

impl<B: HttpBody<Data = Bytes> + Unpin> HttpBody for Calm<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        task: &mut Task<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = self.get_mut();
        let Some(body) = &mut this.0 else {
            return Poll::Ready(None);
        };
        let polled = AssertUnwindSafe(|| Pin::new(body).poll_frame(task));
        std::panic::catch_unwind(polled).unwrap_or_else(|_| {
            this.0 = None;
            Poll::Ready(Some(Ok(Frame::trailers(trailers(&panicked())))))
        })
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.0
            .as_ref()
            .map_or_else(|| SizeHint::with_exact(0), HttpBody::size_hint)
    }
}

/// The panic itself is logged by the process's hook.
fn panicked() -> Status {
    let message = "an internal error; the id of the request leads to it";
    platform_status(Code::Internal, ErrorReason::Internal, message)
}
