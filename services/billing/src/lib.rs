//! Prices, orders, the ledger, leases, statements.

pub mod app;
pub mod auditor;
mod background;
pub mod bank_desk;
pub mod commands;
pub mod config;
mod convert;
pub mod domain;
pub mod error;
pub mod events;
pub mod grpc;
pub mod order_desk;
pub mod providers;
pub mod statement_desk;
pub mod store;

/// The database's migrations.
pub const MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!();
