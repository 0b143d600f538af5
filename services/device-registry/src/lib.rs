//! End users' devices and what they are licensed for.

pub mod app;
pub mod commands;
pub mod config;
pub mod domain;
pub mod error;
pub mod grpc;
mod identity;
pub mod store;

/// The database's migrations.
pub const MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!();
