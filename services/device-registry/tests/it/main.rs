//! Device-registry on a real PostgreSQL, with identity behind a real certificate.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a panic is how a test fails, and its tasks and ids are nobody else's"
)]

mod identifiers;
mod identity;
mod licences;
mod registrations;
mod world;
