use std::path::Path;

use config::{Config, Environment, File, FileFormat};

use crate::{Configuration, redact::redacted};

/// The configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A layer cannot be read, or the whole has another shape.
    #[error("the configuration has the wrong shape")]
    Shape(#[from] config::ConfigError),
    /// It has the shape, but not the sense.
    #[error("the configuration makes no sense:\n  {}", .0.join("\n  "))]
    Problems(Vec<String>),
}

/// A configuration, and its text without secrets for people to read.
pub struct Loaded<C> {
    /// The configuration.
    pub config: C,
    /// What it was made from, as TOML, secrets hidden.
    pub text: String,
}

/// Reads a configuration: the service's defaults, then the file, then the environment
/// (`BILLING__DATABASE__MAX_CONNECTIONS`; `-` of the service's name is `_` there).
pub fn load<C: Configuration>(
    service: &str,
    defaults: &str,
    file: Option<&Path>,
) -> Result<Loaded<C>, ConfigError> {
    let prefix = service.to_ascii_uppercase().replace('-', "_");
    let mut layers = Config::builder().add_source(File::from_str(defaults, FileFormat::Toml));
    if let Some(file) = file {
        layers = layers.add_source(File::from(file).format(FileFormat::Toml));
    }
    let environment = Environment::with_prefix(&prefix)
        .prefix_separator("__")
        .separator("__")
        .try_parsing(true);
    let layers = layers.add_source(environment).build()?;
    let text = redacted(layers.clone().try_deserialize()?);
    let config: C = layers.try_deserialize()?;
    let mut problems = config.service().problems();
    problems.extend(config.problems());
    if problems.is_empty() {
        Ok(Loaded { config, text })
    } else {
        Err(ConfigError::Problems(problems))
    }
}
