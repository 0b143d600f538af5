//! The library against a real PostgreSQL and a real RabbitMQ.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
#![allow(
    clippy::disallowed_methods,
    reason = "tests are told by the environment"
)]

mod batches;
mod bench;
mod broken_connections;
mod dead_letters;
mod exactly_once;
mod outbox;
mod prune;
mod retries;
mod trace;
