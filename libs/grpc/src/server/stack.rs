use bytes::Bytes;
use http::{Request, Response};
use std::convert::Infallible;
use tonic::body::Body;
use tower::{Layer, Service, ServiceBuilder, ServiceExt, util::BoxCloneSyncService};

use super::{
    GrpcConfig, concurrency::ConcurrencyLayer, deadline::DeadlineLayer, metrics::MetricsLayer,
    panic::PanicLayer, trace::TraceLayer,
};

/// What every call passes on its way to `service`, outermost first. What is refused on the way is
/// counted and traced all the same.
pub fn server_stack<A, S, B>(
    config: &GrpcConfig,
    access: A,
    service: S,
) -> BoxCloneSyncService<Request<Body>, Response<Body>, Infallible>
where
    A: Layer<S>,
    A::Service: Service<Request<Body>, Response = Response<B>, Error = Infallible>
        + Clone
        + Send
        + Sync
        + 'static,
    <A::Service as Service<Request<Body>>>::Future: Send + 'static,
    B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let stack = ServiceBuilder::new()
        .layer(TraceLayer::new(config.default_timeout))
        .layer(MetricsLayer::new())
        .layer(PanicLayer)
        .layer(DeadlineLayer)
        .layer(ConcurrencyLayer::new(config.max_calls))
        .layer(access)
        .service(service)
        .map_response(|response: Response<_>| response.map(Body::new));
    BoxCloneSyncService::new(stack)
}
