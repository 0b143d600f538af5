use std::time::Duration;

use futures::{FutureExt, future::BoxFuture};
use sqlx::{
    ConnectOptions, Connection, PgConnection,
    migrate::{MigrateError as SqlxMigrateError, Migrator},
};
use tokio::time::{Instant, sleep};

use crate::{ConfigError, DatabaseConfig};

/// One migration at a time for each database; the number only has to be the same everywhere.
const LOCK: i64 = 0x77_61_6e_77_75;
/// How often a taken lock is asked for again.
const POLL: Duration = Duration::from_millis(200);
/// SQLSTATE `lock_not_available`: what `lock_timeout` answers.
const LOCK_NOT_AVAILABLE: &str = "55P03";

/// The schema could not be brought up to date.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// The configuration is wrong.
    #[error("the database is not configured")]
    Config(#[from] ConfigError),
    /// The database does not answer.
    #[error("cannot use the database")]
    Database(#[from] sqlx::Error),
    /// Somebody else migrates, or holds a table, for too long.
    #[error("gave up waiting for another migration or a table lock")]
    Busy,
    /// A migration failed, or one that is applied is not the one that we know.
    #[error("a migration failed")]
    Migration(#[source] SqlxMigrateError),
}

/// Applies what of `migrator` is not applied yet.
///
/// Replicas that start together take turns by polling an advisory lock instead of blocking on it
/// (a blocking wait deadlocks with CREATE INDEX CONCURRENTLY). A table lock is waited for at most
/// 200 ms, then everybody else goes first and the migration tries again: it never queues
/// readers behind itself for longer.
///
/// # Errors
/// When the configuration is wrong, the database does not answer, a migration fails, or
/// `migrate_timeout` passes.
pub fn migrate<'a>(
    config: &'a DatabaseConfig,
    migrator: &'a Migrator,
) -> BoxFuture<'a, Result<(), MigrateError>> {
    // Boxed: it is compiled here and not in each service.
    bring_to(config, migrator).boxed()
}

async fn bring_to(config: &DatabaseConfig, migrator: &Migrator) -> Result<(), MigrateError> {
    config.check()?;
    let deadline = Instant::now() + config.migrate_timeout;
    let options = config.options()?.application_name("migrate").options([
        ("lock_timeout", "200ms"),
        ("statement_timeout", "0"),
        ("idle_in_transaction_session_timeout", "60s"),
    ]);
    let mut connection = options.connect().await?;
    take_turn(&mut connection, deadline).await?;
    let result = apply(&mut connection, migrator, deadline).await;
    // The end of the connection frees the lock, also when this process dies.
    let _ = connection.close().await;
    result
}

async fn take_turn(connection: &mut PgConnection, deadline: Instant) -> Result<(), MigrateError> {
    loop {
        let (taken,): (bool,) = sqlx::query_as("select pg_try_advisory_lock($1)")
            .bind(LOCK)
            .fetch_one(&mut *connection)
            .await?;
        if taken {
            return Ok(());
        }
        pause(deadline).await?;
    }
}

async fn apply(
    connection: &mut PgConnection,
    migrator: &Migrator,
    deadline: Instant,
) -> Result<(), MigrateError> {
    let mut unlocked = Migrator::with_migrations(migrator.iter().cloned().collect());
    unlocked.set_locking(false).set_ignore_missing(true);
    loop {
        match unlocked.run_direct(None, &mut *connection, false).await {
            Ok(()) => return Ok(()),
            Err(error) if waited_for_lock(&error) => {
                tracing::info!("a table is busy, the migration waits");
                pause(deadline).await?;
            }
            Err(error) => return Err(MigrateError::Migration(error)),
        }
    }
}

fn waited_for_lock(error: &SqlxMigrateError) -> bool {
    let mut source = Some(error as &(dyn std::error::Error + 'static));
    while let Some(error) = source {
        if let Some(sqlx::Error::Database(error)) = error.downcast_ref::<sqlx::Error>() {
            return error.code().as_deref() == Some(LOCK_NOT_AVAILABLE);
        }
        source = error.source();
    }
    false
}

async fn pause(deadline: Instant) -> Result<(), MigrateError> {
    if Instant::now() + POLL > deadline {
        return Err(MigrateError::Busy);
    }
    sleep(POLL).await;
    Ok(())
}
