//! Feeds and holders on a paused clock.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends")]

mod feeds;
mod holders;
mod owner;
mod standings;
