use std::{
    future::Future,
    pin::Pin,
    task::{Context as Task, Poll},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body as HttpBody;
use tonic::body::Body;
use tower::{Layer, Service};

use crate::{
    Context,
    call::{Alarm, Limited},
    deadline,
};

/// Stops a call, its stream included, at the deadline of its context.
#[derive(Clone, Copy)]
pub(super) struct DeadlineLayer;

#[derive(Clone)]
pub(super) struct Deadline<S>(S);

impl<S> Layer<S> for DeadlineLayer {
    type Service = Deadline<S>;

    fn layer(&self, inner: S) -> Deadline<S> {
        Deadline(inner)
    }
}

impl<S, R, B> Service<Request<R>> for Deadline<S>
where
    S: Service<Request<R>, Response = Response<B>>,
    S::Future: Send + 'static,
    B: HttpBody<Data = Bytes> + Unpin + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    type Response = Response<Limited<Body>>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, task: &mut Task<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(task)
    }

    fn call(&mut self, request: Request<R>) -> Self::Future {
        let deadline = Context::current().and_then(|context| context.deadline());
        let answer = self.0.call(request);
        Box::pin(async move {
            let mut alarm = Alarm::at(deadline);
            let answer = alarm.before(answer).await;
            match answer {
                Some(answer) => Ok(answer?.map(|body| Limited::new(Body::new(body), alarm))),
                None => {
                    let refused = deadline::exceeded().into_http::<Body>();
                    Ok(refused.map(|body| Limited::new(body, Alarm::at(None))))
                }
            }
        })
    }
}
