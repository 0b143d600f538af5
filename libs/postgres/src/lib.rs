//! PostgreSQL as every service uses it: a pool that heals, migrations that wait politely, pages,
//! requests that can be repeated safely, and the mark that ties a database to its region.
//!
//! The tables of [`requests`] and [`residency`] are in [`SCHEMA`]; a service copies them into its
//! own first migration.

mod classify;
mod config;
mod connect;
mod migrate;
pub mod page;
pub mod requests;
pub mod residency;

pub use classify::{RowCountError, ensure_rows, is_transient, violates};
pub use config::{ConfigError, DatabaseConfig};
pub use connect::{ConnectError, connect};
pub use migrate::{MigrateError, migrate};

/// The tables that this library needs in a service's own database.
pub const SCHEMA: &str = include_str!("../sql/shared.sql");
