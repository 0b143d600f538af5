use std::time::Duration;

use futures::{FutureExt, future::BoxFuture};
use sqlx::{
    Connection, PgConnection, PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};

use crate::{ConfigError, DatabaseConfig};

/// A connection that does not answer within this time is thrown away before use.
const PING_TIMEOUT: Duration = Duration::from_millis(500);

/// The pool could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The configuration is wrong.
    #[error("the database is not configured")]
    Config(#[from] ConfigError),
    /// The database does not answer.
    #[error("cannot connect to the database")]
    Database(#[source] sqlx::Error),
}

/// Opens the pool of `service` and makes one connection, so that a wrong address shows at start.
///
/// Every connection has the configured statement and idle-in-transaction timeouts and TCP
/// keepalives of the server, is asked for a sign of life before use (500 ms), and is freed of any
/// transaction when it comes back.
///
/// # Errors
/// When the configuration is wrong or the database cannot be reached within `acquire_timeout`.
pub fn connect<'a>(
    config: &'a DatabaseConfig,
    service: &'a str,
) -> BoxFuture<'a, Result<PgPool, ConnectError>> {
    // Boxed: it is compiled here and not in each service.
    open(config, service).boxed()
}

async fn open(config: &DatabaseConfig, service: &str) -> Result<PgPool, ConnectError> {
    config.check()?;
    let options = session(config.options()?, config, service);
    PgPoolOptions::new()
        .max_connections(config.max_connections)
        .acquire_timeout(config.acquire_timeout)
        // The pool's own test has no time limit: a half-open connection would hang in it.
        .test_before_acquire(false)
        .before_acquire(|connection, _| {
            Box::pin(async move {
                let ping = tokio::time::timeout(PING_TIMEOUT, connection.ping());
                Ok(matches!(ping.await, Ok(Ok(()))))
            })
        })
        .after_release(|connection, _| Box::pin(leave_transaction(connection)))
        .connect_with(options)
        .await
        .map_err(ConnectError::Database)
}

fn session(options: PgConnectOptions, config: &DatabaseConfig, service: &str) -> PgConnectOptions {
    options.application_name(service).options([
        (
            "statement_timeout",
            config.statement_timeout.as_millis().to_string(),
        ),
        (
            "idle_in_transaction_session_timeout",
            config.idle_in_transaction_timeout.as_millis().to_string(),
        ),
        ("tcp_keepalives_idle", "10".to_owned()),
        ("tcp_keepalives_interval", "5".to_owned()),
        ("tcp_keepalives_count", "3".to_owned()),
    ])
}

/// Ends whatever transaction a cancelled `begin()` left open: the pool does not know of it, and
/// the next borrower would work inside it.
///
/// A bare `ROLLBACK` would write a warning into the server's log on each release; `BEGIN; ROLLBACK`
/// does so only when there was something to leave. Inside a failed transaction `BEGIN` is
/// refused, and the bare `ROLLBACK` follows.
async fn leave_transaction(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    let clean = async {
        if sqlx::raw_sql("BEGIN; ROLLBACK")
            .execute(&mut *connection)
            .await
            .is_err()
        {
            sqlx::raw_sql("ROLLBACK").execute(&mut *connection).await?;
        }
        Ok::<_, sqlx::Error>(())
    };
    Ok(matches!(
        tokio::time::timeout(PING_TIMEOUT, clean).await,
        Ok(Ok(()))
    ))
}
