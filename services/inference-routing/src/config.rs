//! The configuration: every key with its default stands in `config.default.toml`.

mod sections;

use std::{collections::HashSet, path::PathBuf};

use serde::Deserialize;
use wanwu_events::BrokerConfig;
use wanwu_grpc::{GrpcConfig, Peers, TlsConfig};
use wanwu_personal::KeyProvider;
use wanwu_postgres::DatabaseConfig;
use wanwu_service::{AdminConfig, Configuration, Environment, ProcessConfig};
use wanwu_telemetry::TelemetryConfig;

pub use sections::{
    ChatConfig, EngineAddress, EngineConfig, EpochConfig, JournalConfig, LabelConfig, LeaseConfig,
    LimitsConfig, ModelConfig, ScreenConfig,
};

use crate::{
    app,
    catalogue::Catalogue,
    domain::{label::is_route, limits::MAX_LIMIT, shape::Shape},
    engine::discovery::Source,
};

/// Every key with its default.
pub const DEFAULTS: &str = include_str!("../config.default.toml");

/// The whole configuration.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// `[service]`.
    pub service: ProcessConfig,
    /// `[admin]`.
    pub admin: AdminConfig,
    /// `[telemetry]`.
    pub telemetry: TelemetryConfig,
    /// `[grpc]`.
    pub grpc: GrpcConfig,
    /// `[tls]`.
    pub tls: TlsConfig,
    /// `[peers]`.
    pub peers: Peers,
    /// `[database]`.
    pub database: DatabaseConfig,
    /// `[broker]`.
    pub broker: BrokerConfig,
    /// `[keys]`.
    #[serde(default)]
    pub keys: KeysConfig,
    /// `[chat]`.
    pub chat: ChatConfig,
    /// `[limits]`.
    pub limits: LimitsConfig,
    /// `[journal]`.
    pub journal: JournalConfig,
    /// `[epoch]`.
    pub epoch: EpochConfig,
    /// `[leases]`.
    pub leases: LeaseConfig,
    /// `[engines]`.
    pub engines: EngineConfig,
    /// `[label]`.
    pub label: LabelConfig,
    /// `[screen]`.
    pub screen: ScreenConfig,
    /// `[[models]]`.
    #[serde(default)]
    pub models: Vec<ModelConfig>,
}

/// `[keys]`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeysConfig {
    /// The file of the service's keys; none: labels have no integrity value.
    #[serde(default)]
    pub file: Option<PathBuf>,
}

/// This service's own sections.
#[derive(Clone, Debug, Deserialize)]
pub struct Sections {
    /// `[chat]`.
    pub chat: ChatConfig,
    /// `[limits]`.
    pub limits: LimitsConfig,
    /// `[journal]`.
    pub journal: JournalConfig,
    /// `[epoch]`.
    pub epoch: EpochConfig,
    /// `[leases]`.
    pub leases: LeaseConfig,
    /// `[engines]`.
    pub engines: EngineConfig,
    /// `[label]`.
    pub label: LabelConfig,
    /// `[screen]`.
    pub screen: ScreenConfig,
    /// `[[models]]`.
    #[serde(default)]
    pub models: Vec<ModelConfig>,
}

/// Why a configuration is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {problem}")]
pub struct InvalidConfig {
    /// The key.
    pub key: String,
    /// What is wrong with it.
    pub problem: String,
}

impl Sections {
    /// Checks what types cannot.
    pub fn check(&self) -> Result<(), InvalidConfig> {
        let positive = [
            ("chat.max_running", self.chat.max_running),
            (
                "chat.max_running_per_account",
                self.chat.max_running_per_account,
            ),
            ("journal.group_rows", self.journal.group_rows),
            ("journal.max_waiting", self.journal.max_waiting),
            ("engines.max_attempts", self.engines.max_attempts),
            ("engines.eject_after", self.engines.eject_after as usize),
            ("engines.prefix_blocks", self.engines.prefix_blocks),
        ];
        for (key, value) in positive {
            if value == 0 {
                return Err(invalid(key, "must be at least 1"));
            }
        }
        let limits = &self.limits;
        if [
            limits.requests_per_minute,
            limits.tokens_per_minute,
            limits.concurrent_calls,
        ]
        .into_iter()
        .any(|limit| limit > MAX_LIMIT)
        {
            return Err(invalid("limits", "must be at most 10^12 each"));
        }
        if self.epoch.refuse_after >= self.epoch.ttl
            || self.epoch.renew_every >= self.epoch.refuse_after
        {
            return Err(invalid("epoch", "must be renew_every < refuse_after < ttl"));
        }
        if self.leases.want_factor < 1 || self.leases.want_nanos < 1 {
            return Err(invalid(
                "leases",
                "want_factor and want_nanos must be at least 1",
            ));
        }
        let mut names = HashSet::new();
        for model in &self.models {
            model.check()?;
            if model.max_running == Some(0) {
                return Err(invalid("models.max_running", "must be at least 1"));
            }
            if !names.insert(&model.name) {
                return Err(invalid("models", &format!("{} is there twice", model.name)));
            }
        }
        Ok(())
    }

    /// Refuses engines on this machine, where simulators are.
    fn check_real_engines(&self) -> Result<(), InvalidConfig> {
        let engines = self.models.iter().flat_map(|model| &model.engines);
        for engine in engines {
            if Source::parse(&engine.url).is_some_and(|source| source.is_here()) {
                let problem = format!(
                    "{} is on this machine, which production may not",
                    engine.url
                );
                return Err(invalid("models.engines.url", &problem));
            }
        }
        Ok(())
    }
}

impl ModelConfig {
    /// The kinds of requests that its engines know.
    #[must_use]
    pub fn shapes(&self) -> &[Shape] {
        match (&self.shapes, self.capability.as_str()) {
            (Some(shapes), _) => shapes,
            (None, "embedding") => &[Shape::Embeddings],
            (None, _) => &[Shape::Chat],
        }
    }

    /// The engines' name of the model.
    #[must_use]
    pub fn engine_model(&self) -> &str {
        self.engine_model.as_deref().unwrap_or(&self.name)
    }

    fn check(&self) -> Result<(), InvalidConfig> {
        let key = format!("models.{}", self.name);
        if self.name.is_empty() || self.name.len() > 128 {
            return Err(invalid("models", "a name has 1 to 128 characters"));
        }
        if !matches!(self.capability.as_str(), "chat" | "embedding") {
            return Err(invalid(&key, "capability must be chat or embedding"));
        }
        if self.shapes().is_empty() {
            return Err(invalid(&key, "shapes must name what the engines know"));
        }
        let answers = self.shapes().iter().any(|shape| shape.is_generated());
        if self.context_tokens == 0 || (answers && self.default_max_tokens == 0) {
            return Err(invalid(
                &key,
                "context_tokens and default_max_tokens must be at least 1",
            ));
        }
        if self.image_tokens == Some(0) {
            return Err(invalid(&key, "image_tokens must be at least 1"));
        }
        if self
            .label_route
            .as_deref()
            .is_some_and(|route| !is_route(route))
        {
            return Err(invalid(&key, "label_route must be four of 0-9A-Z"));
        }
        if self.engines.is_empty() {
            return Err(invalid(&key, "needs an engine"));
        }
        for engine in &self.engines {
            if Source::parse(&engine.url).is_none() {
                return Err(invalid(
                    &key,
                    &format!(
                        "{} is neither http://host:port nor dns:host:port nor file:/path",
                        engine.url
                    ),
                ));
            }
        }
        Ok(())
    }
}

impl Config {
    /// The sections of this service alone.
    #[must_use]
    pub fn sections(&self) -> Sections {
        Sections {
            chat: self.chat.clone(),
            limits: self.limits,
            journal: self.journal.clone(),
            epoch: self.epoch,
            leases: self.leases.clone(),
            engines: self.engines.clone(),
            label: self.label.clone(),
            screen: self.screen.clone(),
            models: self.models.clone(),
        }
    }

    /// The key of the labels' integrity values.
    pub fn label_key(&self) -> anyhow::Result<Option<Vec<u8>>> {
        let Some(file) = &self.keys.file else {
            return Ok(None);
        };
        let keys = KeyProvider::from_file(file)?;
        Ok(Some(keys.secret("inference-routing.label").to_vec()))
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
        let production = self.service.environment == Environment::Production;
        let sections = self.sections();
        let checks = [
            sections.check(),
            app::screen(&sections).map(drop),
            Catalogue::build(&sections, None, production).map(drop),
            if production {
                sections.check_real_engines()
            } else {
                Ok(())
            },
        ];
        checks
            .into_iter()
            .filter_map(Result::err)
            .map(|problem| problem.to_string())
            .collect()
    }
}

/// Refuses a key of the configuration.
#[must_use]
pub fn invalid(key: &str, problem: &str) -> InvalidConfig {
    InvalidConfig {
        key: key.to_owned(),
        problem: problem.to_owned(),
    }
}
