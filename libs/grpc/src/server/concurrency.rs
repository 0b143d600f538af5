use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context as Task, Poll},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body as HttpBody;
use tokio::sync::Semaphore;
use tonic::{Code, body::Body};
use tower::{Layer, Service};
use wanwu_proto::operations::v1::ErrorReason;

use crate::{call::Ended, platform_status};

/// Refuses calls beyond a number under way in the whole process. Waiting would only make every
/// call late: the caller is told when to try again.
#[derive(Clone)]
pub(super) struct ConcurrencyLayer(Arc<Semaphore>);

#[derive(Clone)]
pub(super) struct Concurrency<S> {
    inner: S,
    places: Arc<Semaphore>,
}

type Leave = Box<dyn FnOnce(Code) + Send>;

impl ConcurrencyLayer {
    pub(super) fn new(max_calls: usize) -> Self {
        Self(Arc::new(Semaphore::new(max_calls)))
    }
}

impl<S> Layer<S> for ConcurrencyLayer {
    type Service = Concurrency<S>;

    fn layer(&self, inner: S) -> Concurrency<S> {
        Concurrency {
            inner,
            places: Arc::clone(&self.0),
        }
    }
}

impl<S, R, B> Service<Request<R>> for Concurrency<S>
where
    S: Service<Request<R>, Response = Response<B>>,
    S::Future: Send + 'static,
    S::Error: Send + 'static,
    B: HttpBody<Data = Bytes> + Unpin + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    type Response = Response<Ended<Body, Leave>>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, task: &mut Task<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(task)
    }

    fn call(&mut self, request: Request<R>) -> Self::Future {
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            let (code, reason) = (Code::ResourceExhausted, ErrorReason::RateLimited);
            let status = platform_status(code, reason, "the service is at its limit");
            let (parts, body) = status.into_http::<Body>().into_parts();
            let body = Ended::new(&parts.headers, body, Box::new(drop) as Leave);
            return Box::pin(async move { Ok(Response::from_parts(parts, body)) });
        };
        let answer = self.inner.call(request);
        Box::pin(async move {
            let (parts, body) = answer.await?.into_parts();
            let leave: Leave = Box::new(move |_| drop(place));
            let body = Ended::new(&parts.headers, Body::new(body), leave);
            Ok(Response::from_parts(parts, body))
        })
    }
}
