//! The sections of the configuration; see `config.default.toml` for what each key means.

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf, time::Duration};

use ipnet::IpNet;
use serde::{Deserialize, Deserializer};
use wanwu_grpc::{Peers, TlsConfig};
use wanwu_service::{AdminConfig, Configuration, Environment, ProcessConfig};
use wanwu_telemetry::TelemetryConfig;

/// The whole configuration.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// `[service]`.
    pub service: ProcessConfig,
    /// `[grpc]`: the public port.
    pub grpc: PublicConfig,
    /// `[admin]`.
    pub admin: AdminConfig,
    /// `[tls]`: what the edge shows to services.
    pub tls: TlsConfig,
    /// `[telemetry]`.
    pub telemetry: TelemetryConfig,
    /// `[peers]`.
    #[serde(default)]
    pub peers: Peers,
    /// `[keys]`.
    pub keys: KeysConfig,
    /// `[descriptors]`.
    pub descriptors: DescriptorsConfig,
    /// `[routes]`.
    pub routes: RoutesConfig,
    /// `[credentials]`.
    pub credentials: CredentialsConfig,
    /// `[network]`.
    pub network: NetworkConfig,
    /// `[limits]`.
    pub limits: Limits,
}

/// `[grpc]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PublicConfig {
    /// The public address.
    pub listen: SocketAddr,
}

/// `[keys]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeysConfig {
    /// The keys; none: a random one.
    #[serde(deserialize_with = "path")]
    pub file: Option<PathBuf>,
}

/// `[descriptors]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DescriptorsConfig {
    /// The contracts; none: those of this build.
    #[serde(deserialize_with = "path")]
    pub file: Option<PathBuf>,
}

/// `[routes]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RoutesConfig {
    /// The prefix of packages that every service answers.
    pub by_target_service: String,
    /// The prefix of packages that each service answers, by service.
    pub packages: BTreeMap<String, String>,
}

/// `[credentials]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CredentialsConfig {
    /// Grants held.
    pub capacity: usize,
    /// Unknown credentials remembered.
    pub unknown_capacity: u64,
    /// How long they are.
    #[serde(with = "humantime_serde")]
    pub unknown_for: Duration,
    /// Questions under way.
    pub max_asks: usize,
}

/// `[network]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetworkConfig {
    /// The networks of the mainland; none: the example.
    #[serde(deserialize_with = "path")]
    pub table_file: Option<PathBuf>,
    /// The networks of our proxies.
    pub trusted_proxies: Vec<IpNet>,
}

/// `[limits]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Connections open.
    pub max_connections: usize,
    /// Requests under way.
    pub max_requests: usize,
    /// Health checks and reflection under way, which anybody may open and hold: none of `max_requests`.
    pub max_open_requests: usize,
    /// Streams of one HTTP/2 connection.
    pub max_streams_per_connection: u32,
    /// Headers of a request.
    pub max_headers: usize,
    /// Bytes of its headers.
    pub max_header_bytes: u32,
    /// Bytes of a JSON request.
    pub max_json_body: usize,
    /// Bytes of a chat request.
    pub max_chat_body: usize,
    /// Bytes of a gRPC request that is no stream.
    pub max_grpc_body: usize,
    /// Bytes of a callback.
    pub max_callback_body: usize,
    /// Bytes of an answer that becomes JSON.
    pub max_json_answer: usize,
    /// Time for a request's headers.
    #[serde(with = "humantime_serde")]
    pub header_timeout: Duration,
    /// Time for which an HTTP/2 connection may have no stream.
    #[serde(with = "humantime_serde")]
    pub idle_timeout: Duration,
    /// Time for a body that is read whole.
    #[serde(with = "humantime_serde")]
    pub body_timeout: Duration,
    /// Least bytes a second of a body; 0: none.
    pub min_request_rate: u64,
    /// Least bytes a second at which an answer is taken; 0: none.
    pub min_answer_rate: u64,
    /// How far a client may be behind these rates.
    #[serde(with = "humantime_serde")]
    pub rate_grace: Duration,
    /// Time of a call without a stream.
    #[serde(with = "humantime_serde")]
    pub unary_timeout: Duration,
    /// Time of a call with one.
    #[serde(with = "humantime_serde")]
    pub stream_timeout: Duration,
    /// Time in which a client must take something of what is written to it.
    #[serde(with = "humantime_serde")]
    pub stall_timeout: Duration,
    /// Silence before a comment.
    #[serde(with = "humantime_serde")]
    pub keep_alive: Duration,
    /// Time to finish.
    #[serde(with = "humantime_serde")]
    pub drain_timeout: Duration,
}

impl Configuration for Config {
    fn service(&self) -> &ProcessConfig {
        &self.service
    }

    fn admin(&self) -> &AdminConfig {
        &self.admin
    }

    fn telemetry(&self) -> &TelemetryConfig {
        &self.telemetry
    }

    fn problems(&self) -> Vec<String> {
        let mut problems = self.limits.problems();
        for service in self.peers.services() {
            if let Err(error) = self.peers.address(service) {
                problems.push(error.to_string());
            }
        }
        if self.service.environment == Environment::Production {
            if self.keys.file.is_none() {
                problems.push("keys.file must be set in production".to_owned());
            }
            if self.network.table_file.is_none() {
                problems.push("network.table_file must be set in production".to_owned());
            }
            let everybody = |net: &&IpNet| net.prefix_len() == 0;
            if self
                .network
                .trusted_proxies
                .iter()
                .any(|net| everybody(&net))
            {
                problems.push("network.trusted_proxies must not trust everybody".to_owned());
            }
        }
        problems
    }
}

impl Limits {
    fn problems(&self) -> Vec<String> {
        let positive = [
            ("max_connections", self.max_connections),
            ("max_requests", self.max_requests),
            ("max_open_requests", self.max_open_requests),
            ("max_headers", self.max_headers),
            ("max_json_body", self.max_json_body),
            ("max_chat_body", self.max_chat_body),
            ("max_grpc_body", self.max_grpc_body),
        ];
        let mut problems: Vec<_> = positive
            .into_iter()
            .filter(|(_, value)| *value == 0)
            .map(|(key, _)| format!("limits.{key} must be at least 1"))
            .collect();
        // The least buffer of the HTTP/1.1 parser.
        if self.max_header_bytes < 8192 {
            problems.push("limits.max_header_bytes must be at least 8192".to_owned());
        }
        if self.idle_timeout.is_zero() {
            problems.push("limits.idle_timeout must be longer than 0s".to_owned());
        }
        if self.rate_grace.is_zero() && self.min_request_rate.max(self.min_answer_rate) > 0 {
            problems.push("limits.rate_grace must be longer than 0s".to_owned());
        }
        problems
    }
}

/// An empty path is none.
fn path<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<PathBuf>, D::Error> {
    let path = PathBuf::deserialize(deserializer)?;
    Ok(Some(path).filter(|path| !path.as_os_str().is_empty()))
}
