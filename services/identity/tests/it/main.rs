//! Identity on a real PostgreSQL and a real RabbitMQ, with privacy and verification behind real
//! certificates and a provider of messages that answers over HTTP.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a panic is how a test fails, and its tasks and ids are nobody else's"
)]

mod apps;
mod codes;
mod configuration;
mod keys;
mod notifications;
mod operators;
mod peers;
mod registrations;
mod send_limits;
mod sessions;
mod sms;
mod standings;
mod world;
