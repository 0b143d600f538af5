use std::{
    future::Future,
    pin::Pin,
    task::{Context as Task, Poll},
};

use http::{Request, Response};
use metrics::{counter, gauge, histogram};
use tokio::time::Instant;
use tonic::Code;
use tower::{Layer, Service};

use crate::{call::Ended, grpc_status, methods};

/// Counts calls: `wanwu_rpc_seconds{method,code}` until the end of the answer, and
/// `wanwu_rpc_in_flight`.
#[derive(Clone, Copy)]
pub(super) struct MetricsLayer;

#[derive(Clone)]
pub(super) struct Metrics<S>(S);

type Observe = Box<dyn FnOnce(Code) + Send>;

impl<S> Layer<S> for MetricsLayer {
    type Service = Metrics<S>;

    fn layer(&self, inner: S) -> Metrics<S> {
        Metrics(inner)
    }
}

impl<S, R, B> Service<Request<R>> for Metrics<S>
where
    S: Service<Request<R>, Response = Response<B>>,
    S::Future: Send + 'static,
    B: http_body::Body<Data = bytes::Bytes> + Unpin,
{
    type Response = Response<Ended<B, Observe>>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, task: &mut Task<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(task)
    }

    fn call(&mut self, request: Request<R>) -> Self::Future {
        let call = Call::begin(methods::label(request.uri().path()));
        let answer = self.0.call(request);
        Box::pin(async move {
            let (parts, body) = answer.await?.into_parts();
            let observe: Observe = Box::new(move |code| call.end(code));
            let body = Ended::new(&parts.headers, body, observe);
            Ok(Response::from_parts(parts, body))
        })
    }
}

/// A call under way; one that is dropped without an end was cancelled.
struct Call {
    method: &'static str,
    begun: Instant,
    code: Code,
}

impl Call {
    fn begin(method: &'static str) -> Self {
        gauge!("wanwu_rpc_in_flight").increment(1.0);
        Self {
            method,
            begun: Instant::now(),
            code: Code::Cancelled,
        }
    }

    fn end(mut self, code: Code) {
        self.code = code;
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        gauge!("wanwu_rpc_in_flight").decrement(1.0);
        let code = grpc_status::name(self.code);
        histogram!("wanwu_rpc_seconds", "method" => self.method, "code" => code)
            .record(self.begun.elapsed().as_secs_f64());
        if self.code == Code::Internal {
            counter!("wanwu_rpc_internal_errors_total", "method" => self.method).increment(1);
        }
    }
}
