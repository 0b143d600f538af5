//! What comes from an engine is counted where it is read.

use std::sync::{
    Arc,
    atomic::{AtomicU32, AtomicU64, Ordering},
};

use crate::domain::stall::Progress;

/// What came from an engine.
#[derive(Debug, Default)]
pub(super) struct Counted {
    waiting: AtomicU32,
    came: AtomicU64,
}

/// A stream that waits for its first token, until this is dropped.
#[derive(Debug)]
pub(super) struct Waiting(Arc<Counted>);

impl Counted {
    /// A stream waits for its first token.
    pub fn wait(self: &Arc<Self>) -> Waiting {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        Waiting(self.clone())
    }

    /// A stream's first token came, or more of it. What comes before says nothing: an engine that hangs
    /// may still say hello.
    pub fn piece(&self) {
        self.came.fetch_add(1, Ordering::Relaxed);
    }

    /// What came until now.
    pub fn progress(&self) -> Progress {
        Progress {
            waiting: self.waiting.load(Ordering::Relaxed),
            came: self.came.load(Ordering::Relaxed),
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}
