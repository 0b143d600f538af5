use std::{io, net::SocketAddr, time::Duration};

use serde::Deserialize;

mod accept;
mod body_limit;
mod concurrency;
mod deadline;
mod linger;
mod metrics;
mod panic;
mod reflection;
mod serve;
mod stack;
mod trace;

pub use reflection::Reflection;
pub use serve::Server;
pub use stack::server_stack;

/// Section `[grpc]` of a service's configuration.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GrpcConfig {
    /// The address to listen on.
    pub listen: SocketAddr,
    /// The longest body of a request, in bytes.
    pub max_body: usize,
    /// How many calls are answered at the same time; one more is refused.
    pub max_calls: usize,
    /// How many connections are open at the same time; one more waits.
    pub max_connections: usize,
    /// How long a TLS handshake may take.
    #[serde(with = "humantime_serde")]
    pub handshake_timeout: Duration,
    /// The deadline of a call that brings none and is not answered with a stream.
    #[serde(with = "humantime_serde")]
    pub default_timeout: Duration,
    /// After about so long a connection is replaced, so that calls spread over new replicas and
    /// certificates are checked again. Calls that are under way finish.
    #[serde(with = "humantime_serde")]
    pub max_connection_age: Duration,
    /// How long calls may finish after the server stopped accepting; then they are cut.
    #[serde(with = "humantime_serde")]
    pub drain_timeout: Duration,
}

/// The server cannot start.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The address is taken or not ours.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
}

impl Default for GrpcConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            max_body: 4 << 20,
            max_calls: 4096,
            max_connections: 1024,
            handshake_timeout: Duration::from_secs(3),
            default_timeout: Duration::from_secs(30),
            max_connection_age: Duration::from_secs(600),
            drain_timeout: Duration::from_secs(15),
        }
    }
}
