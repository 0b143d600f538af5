//! The library against a real PostgreSQL.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
#![allow(
    clippy::disallowed_methods,
    reason = "tests are told by the environment"
)]

mod migrate;
mod page;
mod pool;
mod requests;
mod residency;

use sqlx::PgPool;
use wanwu_postgres::DatabaseConfig;

/// The configuration of the test's own database.
fn config(pool: &PgPool) -> DatabaseConfig {
    let server = std::env::var("DATABASE_URL").expect("DATABASE_URL names a server");
    let (server, _) = server.rsplit_once('/').expect("the URL names a database");
    let options = pool.connect_options();
    let database = options.get_database().expect("the test has a database");
    DatabaseConfig::of(&format!("{server}/{database}"))
}
