//! Values that must be felt everywhere within a second, told by gRPC streams.
//!
//! The owner of the values has a [`Feed`], driven by [`poll_changes`] over its database; whoever
//! decides by them has a [`Holder`]. While heartbeats come, a held value is current; when they
//! stay away, the holder asks the owner for each value, and without an answer says so.

mod feed;
mod flights;
mod holder;
mod item;
mod poll;
mod shelf;
mod source;
mod standing;

pub use feed::{Feed, Subscription};
pub use holder::{Holder, HolderEvent, Unknown};
pub use item::Item;
pub use poll::{POLL_LIMIT, poll_changes};
pub use source::Source;
pub use standing::{StandingWatch, WatchedStanding};

use std::time::Duration;

/// How often a feed tells that it lives.
pub const HEARTBEAT: Duration = Duration::from_millis(200);
/// A feed whose source was not read for so long tells nothing.
pub const SOURCE_FRESH_FOR: Duration = Duration::from_millis(300);
/// A holder that heard nothing for so long asks. With [`SOURCE_FRESH_FOR`] it makes the one
/// second within which a change is felt.
pub const FRESH_FOR: Duration = Duration::from_millis(700);
/// The longest time that an answer is waited for, before the source is asked once more.
pub const ASK_TIMEOUT: Duration = Duration::from_millis(200);
/// How often the database is read for changes.
pub const POLL_EVERY: Duration = Duration::from_millis(100);
