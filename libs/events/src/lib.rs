//! Events: told once, in the transaction of the change that they tell of, and applied once, in the
//! transaction of their effect.
//!
//! [`publish`] writes the outbox, [`Relay`] sends it, [`Consumers`] apply what arrives, and
//! [`DeadLetters`] shows and replays what could not be applied. Nothing promises order. The tables
//! are in [`SCHEMA`]; a service copies them into its own first migration.

mod apply;
mod batch;
mod broker;
mod config;
mod consumers;
mod dead_letters;
mod deliveries;
mod failure;
mod handler;
mod inbox;
mod message;
mod outbox;
mod prune;
mod publish;
mod publish_many;
mod race;
mod relay;
mod retries;
mod topology;
mod trace;

pub use config::{BrokerConfig, ConfigError};
pub use consumers::Consumers;
pub use dead_letters::DeadLetters;
pub use handler::{Handler, HandlerError};
pub use publish::{MAX_PAYLOAD, publish, wake};
pub use publish_many::{Prepared, Traced, prepare, publish_many, traceparent};
pub use relay::Relay;
pub use topology::{consumers_of, queue};

/// The tables that this library needs in a service's own database.
pub const SCHEMA: &str = include_str!("../sql/events.sql");
