use std::{convert::Infallible, net::SocketAddr};

use bytes::Bytes;
use http::{Request, Response};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::{body::Body, service::Routes};
use tonic_health::ServingStatus;
use tower::{Layer, Service};
use wanwu_proto::DESCRIPTORS;

use super::{GrpcConfig, Reflection, ServerError, accept, server_stack};
use crate::Tls;

/// A server that listens and does not answer yet.
pub struct Server {
    pub(super) listener: TcpListener,
    pub(super) address: SocketAddr,
    pub(super) config: GrpcConfig,
    pub(super) tls: Tls,
}

impl Server {
    /// Listens at the configured address.
    pub async fn bind(config: &GrpcConfig, tls: &Tls) -> Result<Self, ServerError> {
        let listen = |source| ServerError::Listen {
            address: config.listen,
            source,
        };
        let listener = TcpListener::bind(config.listen).await.map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        Ok(Self {
            listener,
            address,
            config: config.clone(),
            tls: tls.clone(),
        })
    }

    /// Where it listens; of interest where the configuration says port 0.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Answers `routes`, and health and reflection, behind the stack of layers whose innermost is
    /// `access`. After `draining` its health says NOT_SERVING; after `stop` it accepts nothing,
    /// lets calls finish and cuts what is left after the configured time.
    pub async fn run<A, B>(
        self,
        routes: Routes,
        access: A,
        draining: CancellationToken,
        stop: CancellationToken,
    ) -> Result<(), ServerError>
    where
        A: Layer<Routes>,
        A::Service: Service<Request<Body>, Response = Response<B>, Error = Infallible>
            + Clone
            + Send
            + Sync
            + 'static,
        <A::Service as Service<Request<Body>>>::Future: Send + 'static,
        B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let (health, health_service) = tonic_health::server::health_reporter();
        let reflection = Reflection::new(vec![Bytes::from_static(DESCRIPTORS)], None);
        let routes = reflection
            .serve(routes.add_service(health_service))
            .prepare();
        let service = server_stack(&self.config, access, routes);
        let not_serving = async {
            draining.cancelled().await;
            health
                .set_service_status("", ServingStatus::NotServing)
                .await;
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = not_serving => {}
            () = accept::accept(self, service, stop) => {}
        }
        Ok(())
    }
}
