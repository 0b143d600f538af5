//! Who a person is.

pub mod app;
pub mod commands;
pub mod config;
mod convert;
pub mod domain;
pub mod error;
pub mod grpc;
mod privacy;
pub mod providers;
pub mod store;

/// The database's migrations.
pub const MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!();
