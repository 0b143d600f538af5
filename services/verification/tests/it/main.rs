//! Verification on a real PostgreSQL and a real RabbitMQ, with privacy behind a real certificate and
//! an agency that signs and verifies.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a panic is how a test fails, and its tasks and ids are nobody else's"
)]

mod agency;
mod agency_answers;
mod ages;
mod consents;
mod events;
mod privacy;
mod sealed;
mod submissions;
mod world;
