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
    /// Section `[agency]`.
    pub agency: AgencyConfig,
}

/// Section `[keys]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeysConfig {
    /// The file of the keys that nothing in the database can be read without.
    pub file: std::path::PathBuf,
}

/// Section `[agency]`: the real-name agency.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgencyConfig {
    /// Where it answers.
    pub base_url: url::Url,
    /// Our name there.
    pub app_id: String,
    /// The shared secret.
    pub secret: Option<secrecy::SecretString>,
    /// A file that holds the secret. Exactly one of the two.
    pub secret_file: Option<std::path::PathBuf>,
    /// How long an answer is waited for.
    #[serde(with = "humantime_serde")]
    pub timeout: std::time::Duration,
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
        let environment = self.service.environment;
        environment
            .provider_problem("agency.base_url", self.agency.base_url.as_str())
            .into_iter()
            .chain(
                (self.agency.secret.is_some() == self.agency.secret_file.is_some()).then(|| {
                    "exactly one of agency.secret and agency.secret_file must be set".to_owned()
                }),
            )
            .collect()
    }
}
