use std::{
    future::Future,
    pin::Pin,
    task::{Context as Task, Poll},
};

use http::{Request, Response};
use metrics::{Gauge, counter, gauge, histogram};
use tokio::time::Instant;
use tonic::Code;
use tower::{Layer, Service};

use crate::{
    call::Ended,
    grpc_status,
    methods::{self, Method},
};

/// Counts calls: `wanwu_rpc_seconds{method,code}` until the end of the answer, and
/// `wanwu_rpc_in_flight`.
#[derive(Clone)]
pub(super) struct MetricsLayer {
    in_flight: Gauge,
}

#[derive(Clone)]
pub(super) struct Metrics<S> {
    inner: S,
    in_flight: Gauge,
}

type Observe = Box<dyn FnOnce(Code) + Send>;

impl MetricsLayer {
    pub(super) fn new() -> Self {
        Self {
            in_flight: gauge!("wanwu_rpc_in_flight"),
        }
    }
}

impl<S> Layer<S> for MetricsLayer {
    type Service = Metrics<S>;

    fn layer(&self, inner: S) -> Metrics<S> {
        Metrics {
            inner,
            in_flight: self.in_flight.clone(),
        }
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
        self.inner.poll_ready(task)
    }

    fn call(&mut self, request: Request<R>) -> Self::Future {
        let method = methods::find(request.uri().path());
        let call = Call::begin(method, self.in_flight.clone());
        let answer = self.inner.call(request);
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
    method: Option<&'static Method>,
    in_flight: Gauge,
    begun: Instant,
    code: Code,
}

impl Call {
    fn begin(method: Option<&'static Method>, in_flight: Gauge) -> Self {
        in_flight.increment(1.0);
        Self {
            method,
            in_flight,
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
        self.in_flight.decrement(1.0);
        // What is not of our contracts shares a label, so that nobody can make labels up.
        let path = self.method.map_or("other", |method| method.path);
        let code = grpc_status::name(self.code);
        let find = || histogram!("wanwu_rpc_seconds", "method" => path, "code" => code);
        let seconds = match self.method {
            Some(method) if self.code == Code::Ok => method.good.get_or_init(find).clone(),
            _ => find(),
        };
        seconds.record(self.begun.elapsed().as_secs_f64());
        if self.code == Code::Internal {
            counter!("wanwu_rpc_internal_errors_total", "method" => path).increment(1);
        }
    }
}
