//! Other services, as clients.

use http::{Request, Response};
use tonic::{Status, body::Body};
use tower::{Service, ServiceExt, util::BoxCloneSyncService};

/// A channel to another service.
pub type PeerChannel = BoxCloneSyncService<Request<Body>, Response<Body>, Status>;

/// Any channel of gRPC as a [`PeerChannel`].
pub fn peer<S>(channel: S) -> PeerChannel
where
    S: Service<Request<Body>, Response = Response<Body>> + Clone + Send + Sync + 'static,
    S::Error: Into<Status>,
    S::Future: Send + 'static,
{
    BoxCloneSyncService::new(channel.map_err(Into::into))
}
