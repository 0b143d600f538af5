//! inference-routing: from a chat request to an engine, and to an exact bill.

pub mod admission;
pub mod app;
pub mod catalogue;
pub mod commands;
pub mod config;
pub mod credit;
pub mod devices;
pub mod domain;
pub mod engine;
pub mod error;
pub mod grpc;
pub mod journal;
pub mod limiter;
pub mod peers;
pub mod routes;
pub mod series;
pub mod serve;
pub mod store;
pub mod tokenizer;

pub use error::Error;

/// The schema of this build.
pub static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!();
