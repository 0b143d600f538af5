use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context as Task, Poll},
};

use http::{Request, Response};
use tonic::{Status, body::Body};
use tower::Service;

use crate::{PeerAddress, Tls};

mod affinity;
mod call;
mod endpoint;
mod pool;
mod replay;
mod resolve;
mod trace;

pub use affinity::{Affinity, Candidate, Recent, stable_hash};
use pool::Pool;
pub(crate) use trace::parts;

/// Calls to one service, spread over its replicas. Clones share the connections, which are kept
/// up by themselves and verified to be the service's.
///
/// Every call carries the trace, the id of the request and what is left of the deadline of the
/// call that is being answered; one without a deadline gets 10 seconds, unless it answers with a
/// stream. A call that no connection took, or whose replica says that it never looked at it, is tried
/// on another one, for at most a second; no other call is ever repeated. It is a plain `tower` service of HTTP requests, so raw
/// gRPC bytes can be passed through it. A request that carries an [`Affinity`] goes where others with
/// the same one went.
#[derive(Clone)]
pub struct Channel {
    pool: Arc<Pool>,
}

impl Channel {
    /// A channel to `service` at `address`. It must be made inside a runtime.
    #[must_use]
    pub fn new(service: &str, address: PeerAddress, tls: &Tls) -> Self {
        Self {
            pool: Pool::start(service, address, tls),
        }
    }

    /// The service that is called.
    #[must_use]
    pub fn service(&self) -> &str {
        self.pool.service()
    }

    /// At least one replica is connected.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.pool.is_connected()
    }

    /// Waits until a replica is connected.
    pub async fn connected(&self) {
        self.pool.connected().await;
    }
}

impl Service<Request<Body>> for Channel {
    type Response = Response<Body>;
    type Error = Status;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Status>> + Send>>;

    fn poll_ready(&mut self, _task: &mut Task<'_>) -> Poll<Result<(), Status>> {
        // Waiting for a connection happens in the call, where its deadline is known.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        Box::pin(call::call(Arc::clone(&self.pool), request))
    }
}
