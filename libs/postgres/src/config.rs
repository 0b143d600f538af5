use std::{fs, io, path::PathBuf, str::FromStr, time::Duration};

use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use sqlx::postgres::PgConnectOptions;

/// How the URL of a database begins.
const SCHEMES: [&str; 2] = ["postgres://", "postgresql://"];

/// Section `[database]` of a service's configuration.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DatabaseConfig {
    /// Where the database is: `postgres://user:password@host:port/name?sslmode=..`.
    pub url: Option<SecretString>,
    /// A file that holds the URL, for secrets that are mounted. Exactly one of the two.
    pub url_file: Option<PathBuf>,
    /// Most connections of this process, at least 1.
    pub max_connections: u32,
    /// How long to wait for a free connection.
    #[serde(with = "humantime_serde")]
    pub acquire_timeout: Duration,
    /// How long one statement may run before the server ends it.
    #[serde(with = "humantime_serde")]
    pub statement_timeout: Duration,
    /// How long a transaction may sit idle before the server ends it.
    #[serde(with = "humantime_serde")]
    pub idle_in_transaction_timeout: Duration,
    /// How long the migration waits for its turn, and for locks, altogether.
    #[serde(with = "humantime_serde")]
    pub migrate_timeout: Duration,
}

/// The configuration of the database cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// Neither or both places are named.
    #[error("exactly one of database.url and database.url_file must be set")]
    OneUrl,
    /// The file with the URL cannot be read.
    #[error("cannot read database.url_file {}", path.display())]
    UrlFile {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The URL has the wrong shape. The URL itself is a secret and stays out of the text.
    #[error("database.url is not a PostgreSQL URL")]
    Url,
    /// A number is out of its range.
    #[error("database.{0} must be greater than zero")]
    Zero(&'static str),
}

impl Default for DatabaseConfig {
    fn default() -> Self {
        Self {
            url: None,
            url_file: None,
            max_connections: 10,
            acquire_timeout: Duration::from_secs(3),
            statement_timeout: Duration::from_secs(5),
            idle_in_transaction_timeout: Duration::from_secs(5),
            migrate_timeout: Duration::from_secs(120),
        }
    }
}

impl DatabaseConfig {
    /// A configuration with this URL and the defaults.
    #[must_use]
    pub fn of(url: &str) -> Self {
        Self {
            url: Some(SecretString::from(url)),
            ..Self::default()
        }
    }

    /// Checks everything that can be checked without the database.
    ///
    /// # Errors
    /// When the URL is absent, named twice, unreadable or malformed, or a limit is zero.
    pub fn check(&self) -> Result<(), ConfigError> {
        let limits = [
            ("max_connections", self.max_connections == 0),
            ("acquire_timeout", self.acquire_timeout.is_zero()),
            ("statement_timeout", self.statement_timeout.is_zero()),
            (
                "idle_in_transaction_timeout",
                self.idle_in_transaction_timeout.is_zero(),
            ),
            ("migrate_timeout", self.migrate_timeout.is_zero()),
        ];
        if let Some((name, _)) = limits.into_iter().find(|(_, zero)| *zero) {
            return Err(ConfigError::Zero(name));
        }
        self.options().map(drop)
    }

    /// The options of a connection, without timeouts.
    pub(crate) fn options(&self) -> Result<PgConnectOptions, ConfigError> {
        let url = match (&self.url, &self.url_file) {
            (Some(url), None) => url.clone(),
            (None, Some(path)) => {
                let text = fs::read_to_string(path).map_err(|source| ConfigError::UrlFile {
                    path: path.clone(),
                    source,
                })?;
                SecretString::from(text.trim())
            }
            _ => return Err(ConfigError::OneUrl),
        };
        let url = url.expose_secret();
        // The parser takes any scheme.
        if !SCHEMES.iter().any(|scheme| url.starts_with(scheme)) {
            return Err(ConfigError::Url);
        }
        PgConnectOptions::from_str(url).map_err(|_| ConfigError::Url)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn exactly_one_url_is_needed() {
        let none = DatabaseConfig::default();
        assert!(matches!(none.check(), Err(ConfigError::OneUrl)));
        let mut both = DatabaseConfig::of("postgres://127.0.0.1/x");
        both.url_file = Some("/nowhere".into());
        assert!(matches!(both.check(), Err(ConfigError::OneUrl)));
    }

    #[test]
    fn a_url_can_be_mounted_as_a_file() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        writeln!(file, "postgres://u:secret@db.internal:6000/billing").unwrap();
        let config = DatabaseConfig {
            url_file: Some(file.path().into()),
            ..DatabaseConfig::default()
        };
        assert_eq!(config.options().unwrap().get_host(), "db.internal");
    }

    #[test]
    fn no_text_shows_the_password() {
        let config = DatabaseConfig::of("not-postgres://u:hunter2@db/x");
        let error = config.check().unwrap_err();
        assert!(!format!("{error} {error:?} {config:?}").contains("hunter2"));
    }

    #[test]
    fn zero_limits_and_unknown_keys_are_refused() {
        let mut config = DatabaseConfig::of("postgres://127.0.0.1/x");
        config.max_connections = 0;
        assert!(matches!(
            config.check(),
            Err(ConfigError::Zero("max_connections"))
        ));
        assert!(toml::from_str::<DatabaseConfig>("pool = 3").is_err());
        let read: DatabaseConfig = toml::from_str("statement_timeout = \"900ms\"").unwrap();
        assert_eq!(read.statement_timeout, Duration::from_millis(900));
    }
}
