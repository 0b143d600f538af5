//! An engine at work on a call.

use std::sync::Arc;

use tokio::sync::watch;

use super::pool::{Engine, Pool};
use crate::domain::placement::{Choice, Ending, SlotId};

/// An engine at work on a call: it counts as loaded until this is dropped.
#[derive(Debug)]
pub struct AtWork {
    pool: Arc<Pool>,
    engine: Arc<Engine>,
    silence: watch::Receiver<u64>,
    choice: Choice,
    begun: bool,
    ending: Ending,
}

impl AtWork {
    /// The engine that was chosen in a pool.
    pub(super) fn new(pool: Arc<Pool>, engine: Arc<Engine>, choice: Choice) -> Self {
        Self {
            pool,
            silence: engine.silences(),
            engine,
            choice,
            begun: false,
            ending: Ending::Unknown,
        }
    }

    /// The engine.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The engine, for as long as it is asked.
    #[must_use]
    pub fn shared_engine(&self) -> Arc<Engine> {
        self.engine.clone()
    }

    /// Waits until the engine is left out because nothing comes from it.
    pub async fn silent(&mut self) {
        if self.silence.changed().await.is_err() {
            std::future::pending().await
        }
    }

    /// What it is to its pool.
    #[must_use]
    pub const fn id(&self) -> SlotId {
        self.choice.id
    }

    /// Why it was chosen: each that could be, with the blocks it would have to do anew, the calls
    /// that it ran, and its score.
    #[must_use]
    pub fn scores(&self) -> String {
        if self.choice.on_trial {
            return "on trial".to_owned();
        }
        self.pool.shown(&self.choice.scores)
    }

    /// The first token came.
    pub fn began(&mut self) {
        self.begun = true;
        self.pool.begun(self.choice.id, self.choice.new_blocks);
    }

    /// Ends it; without, nothing is said about the engine.
    pub fn end(mut self, ending: Ending) {
        self.ending = ending;
    }
}

impl Drop for AtWork {
    fn drop(&mut self) {
        let unbegun = if self.begun {
            0
        } else {
            self.choice.new_blocks
        };
        self.pool
            .ended(self.choice.id, &self.engine, unbegun, self.ending);
    }
}
