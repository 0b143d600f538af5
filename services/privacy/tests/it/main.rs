//! Privacy on a real PostgreSQL.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod agreements;
mod consents;
mod gates;
mod purchases;
mod world;
