//! gRPC as every service speaks it: mutual TLS with names from certificates, one stack of layers
//! on the server, a balanced channel on the client, deadlines and traces that travel, and errors
//! that say their reason.

mod call;
mod client;
mod connect;
mod context;
mod deadline;
mod failure;
mod gather;
mod grpc_status;
mod header_carrier;
mod methods;
mod peer;
mod peers;
mod server;
#[cfg(feature = "testing")]
pub mod testing;
mod tls;
mod tls_files;

pub use client::{Affinity, Candidate, Channel, Recent, stable_hash};
pub use context::Context;
pub use failure::{DOMAIN, Failure, Violation, platform_status, status};
pub use grpc_status::code_of;
pub use methods::is_streaming;
pub use peer::Peer;
pub use peers::{PeerAddress, Peers, PeersError};
pub use server::{GrpcConfig, Reflection, Server, ServerError, server_stack};
pub use tls::{Tls, TlsError};
pub use tls_files::TlsConfig;
/// The services that a server answers; see [`Server::run`].
pub use tonic::service::Routes;
