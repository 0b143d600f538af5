use std::{collections::HashMap, path::PathBuf};

use anyhow::Context;
use secrecy::SecretString;
use serde::Deserialize;
use url::Url;
use wanwu_service::{AdminConfig, Configuration, ProcessConfig};
use wanwu_telemetry::TelemetryConfig;

use crate::domain::send_limits::SendLimits;

/// Where the provider of short messages answers.
const PROVIDER_HOST: &str = "dysmsapi.aliyuncs.com";

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
    /// Section `[sms]`.
    pub sms: SmsConfig,
    /// Section `[codes]`.
    pub codes: CodesConfig,
}

/// Section `[keys]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeysConfig {
    /// The file of the keys that nothing personal can be read without.
    pub file: PathBuf,
}

/// Section `[sms]`: short messages by Alibaba Cloud.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SmsConfig {
    /// Where it answers.
    pub base_url: Url,
    /// Our access key.
    pub access_key_id: String,
    /// Its secret.
    pub access_key_secret: Option<SecretString>,
    /// A file that holds the secret. Exactly one of the two.
    pub access_key_secret_file: Option<PathBuf>,
    /// The signature that messages carry.
    pub sign_name: String,
    /// Codes of the provider's templates by our names.
    pub templates: HashMap<String, String>,
}

/// Section `[codes]`: how many codes are sent.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CodesConfig {
    /// To one number in a minute.
    pub number_a_minute: usize,
    /// To one number in an hour.
    pub number_an_hour: usize,
    /// To one number in any 24 hours.
    pub number_a_day: usize,
    /// For one client address in an hour.
    pub address_an_hour: i64,
    /// By everybody together in a minute.
    pub everybody_a_minute: i64,
}

impl From<CodesConfig> for SendLimits {
    fn from(config: CodesConfig) -> Self {
        Self {
            number_a_minute: config.number_a_minute,
            number_an_hour: config.number_an_hour,
            number_a_day: config.number_a_day,
            address_an_hour: config.address_an_hour,
            everybody_a_minute: config.everybody_a_minute,
        }
    }
}

impl SmsConfig {
    /// The secret of the access key.
    ///
    /// # Errors
    /// When it is absent, named twice or unreadable.
    pub fn secret(&self) -> anyhow::Result<SecretString> {
        match (&self.access_key_secret, &self.access_key_secret_file) {
            (Some(secret), None) => Ok(secret.clone()),
            (None, Some(path)) => Ok(std::fs::read_to_string(path)
                .with_context(|| format!("cannot read {}", path.display()))?
                .trim()
                .into()),
            _ => anyhow::bail!("set exactly one of sms.access_key_secret and its _file"),
        }
    }
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
        let mut problems: Vec<_> = environment
            .provider_host_problem("sms.base_url", &self.sms.base_url, PROVIDER_HOST)
            .into_iter()
            .collect();
        if self.sms.access_key_secret.is_some() == self.sms.access_key_secret_file.is_some() {
            problems.push("exactly one of sms.access_key_secret and its _file must be set".into());
        }
        if !self.sms.templates.contains_key("verification_code") {
            problems.push("sms.templates.verification_code must be set".into());
        }
        // The provider's own limits for codes.
        let codes = self.codes;
        if codes.number_a_minute > 1 || codes.number_an_hour > 5 || codes.number_a_day > 10 {
            problems.push("codes: a number gets at most 1 a minute, 5 an hour, 10 a day".into());
        }
        problems
    }
}
