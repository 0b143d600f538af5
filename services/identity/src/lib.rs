//! Accounts, sessions, apps, keys, operators and standing.

pub mod app;
mod background;
pub mod commands;
pub mod config;
pub mod domain;
pub mod error;
pub mod events;
mod gates;
pub mod grpc;
mod own_standing;
pub mod providers;
pub mod serve;
pub mod store;

/// The database's migrations.
pub const MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!();
