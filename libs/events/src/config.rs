use std::{fs, io, path::PathBuf, time::Duration};

use lapin::uri::AMQPUri;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

const DAY: Duration = Duration::from_secs(24 * 3600);

/// Section `[broker]` of a service's configuration.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BrokerConfig {
    /// Where the broker is: `amqps://user:password@host:port/vhost`.
    pub url: Option<SecretString>,
    /// A file that holds the URL, for secrets that are mounted. Exactly one of the two.
    pub url_file: Option<PathBuf>,
    /// The certificates (PEM) that sign the broker's, for `amqps`.
    pub ca_file: Option<PathBuf>,
    /// Put before the name of every queue; for tests that share a broker.
    pub queue_prefix: String,
    /// The broker deletes a queue that nobody used for so long; for tests. Unset: never.
    #[serde(with = "humantime_serde")]
    pub queue_expires: Option<Duration>,
    /// How many events of one queue are handled at the same time, 1 to 256. Each takes a database
    /// connection: keep it below the pool's size.
    pub workers: u16,
    /// How long published events and the record of applied ones stay; a day at least. An event that
    /// is delivered again after that would be applied again.
    #[serde(with = "humantime_serde")]
    pub keep: Duration,
}

/// The configuration of the broker cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// Neither or both places are named.
    #[error("exactly one of broker.url and broker.url_file must be set")]
    OneUrl,
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The URL has the wrong shape. The URL itself is a secret and stays out of the text.
    #[error("broker.url is not an AMQP URL")]
    Url,
    /// The number of workers is out of its range.
    #[error("broker.workers must be from 1 to 256")]
    Workers,
    /// Events would be forgotten while they may still be delivered again.
    #[error("broker.keep must be a day at least")]
    Keep,
}

impl Default for BrokerConfig {
    fn default() -> Self {
        Self {
            url: None,
            url_file: None,
            ca_file: None,
            queue_prefix: String::new(),
            queue_expires: None,
            workers: 8,
            keep: DAY * 30,
        }
    }
}

impl BrokerConfig {
    /// A configuration with this URL and the defaults.
    #[must_use]
    pub fn of(url: &str) -> Self {
        Self {
            url: Some(SecretString::from(url)),
            ..Self::default()
        }
    }

    /// Checks everything that can be checked without the broker.
    ///
    /// # Errors
    /// When the URL is absent, named twice, unreadable or malformed, or a limit is out of range.
    pub fn check(&self) -> Result<(), ConfigError> {
        if !(1..=256).contains(&self.workers) {
            return Err(ConfigError::Workers);
        }
        if self.keep < DAY {
            return Err(ConfigError::Keep);
        }
        self.authorities()?;
        self.uri().map(drop)
    }

    pub(crate) fn uri(&self) -> Result<AMQPUri, ConfigError> {
        let url = match (&self.url, &self.url_file) {
            (Some(url), None) => url.clone(),
            (None, Some(path)) => SecretString::from(read(path)?.trim()),
            _ => return Err(ConfigError::OneUrl),
        };
        url.expose_secret().parse().map_err(|_| ConfigError::Url)
    }

    /// The PEM of the certificate authorities, when they are configured.
    pub(crate) fn authorities(&self) -> Result<Option<String>, ConfigError> {
        self.ca_file.as_ref().map(read).transpose()
    }
}

fn read(path: &PathBuf) -> Result<String, ConfigError> {
    fs::read_to_string(path).map_err(|source| ConfigError::File {
        path: path.clone(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_configuration_passes() {
        assert!(
            BrokerConfig::of("amqp://guest:guest@127.0.0.1:5672/%2f")
                .check()
                .is_ok()
        );
        assert!(matches!(
            BrokerConfig::default().check(),
            Err(ConfigError::OneUrl)
        ));
        let mut config = BrokerConfig::of("amqp://127.0.0.1");
        config.workers = 0;
        assert!(matches!(config.check(), Err(ConfigError::Workers)));
        let mut config = BrokerConfig::of("amqp://127.0.0.1");
        config.keep = DAY - Duration::from_secs(1);
        assert!(matches!(config.check(), Err(ConfigError::Keep)));
    }

    #[test]
    fn no_text_shows_the_password() {
        let config = BrokerConfig::of("http://u:hunter2@broker/");
        let error = config.check().unwrap_err();
        assert!(!format!("{error} {error:?} {config:?}").contains("hunter2"));
    }
}
