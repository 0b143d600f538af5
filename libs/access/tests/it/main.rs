//! The layer in a server over real TLS: what peers may say, and what accounts pass.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends")]

mod callers;
mod principals;
mod stand;
mod standings;
