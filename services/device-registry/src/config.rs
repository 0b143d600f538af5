use serde::Deserialize;
use wanwu_service::{AdminConfig, Configuration, ProcessConfig};
use wanwu_telemetry::TelemetryConfig;

/// The whole configuration; `config.default.toml` documents every key.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Section `[service]`.
    pub service: ProcessConfig,
    /// Section `[admin]`.
    pub admin: AdminConfig,
    /// Section `[telemetry]`.
    pub telemetry: TelemetryConfig,
    /// Section `[grpc]`.
    pub grpc: wanwu_grpc::GrpcConfig,
    /// Section `[tls]`.
    pub tls: wanwu_grpc::TlsConfig,
    /// Section `[peers]`.
    pub peers: wanwu_grpc::Peers,
    /// Section `[database]`.
    pub database: wanwu_postgres::DatabaseConfig,
    /// Section `[broker]`.
    pub broker: wanwu_events::BrokerConfig,
    /// Section `[keys]`.
    pub keys: KeysConfig,
    /// Section `[devices]`.
    pub devices: DevicesConfig,
}

/// Section `[keys]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeysConfig {
    /// The file of the keys that nothing in the database can be read without.
    pub file: std::path::PathBuf,
}

/// Section `[devices]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DevicesConfig {
    /// Devices that one app may register.
    pub max_per_app: i64,
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
        Vec::new()
    }
}
