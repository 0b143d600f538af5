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
    /// Section `[agreements]`.
    pub agreements: AgreementsConfig,
}

/// Section `[keys]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeysConfig {
    /// The file of the keys that nothing in the database can be read without.
    pub file: std::path::PathBuf,
}

/// Section `[agreements]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgreementsConfig {
    /// The folder with `agreements.toml`, `purposes.toml` and the texts.
    pub folder: std::path::PathBuf,
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
