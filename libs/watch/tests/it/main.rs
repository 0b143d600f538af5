//! Feeds and holders on a paused clock.

mod feeds;
mod holders;
mod owner;
