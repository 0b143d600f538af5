//! Metrics that every call of a model tells, found once. A metric is found by its name and its labels, and these are
//! made anew each time that it is looked for. The recorder is the process's, and so are these.

use std::sync::{LazyLock, OnceLock};

use metrics::{Counter, Gauge, Histogram, gauge};

use crate::chat::Shape;

/// Requests under way.
pub static IN_FLIGHT: LazyLock<Gauge> = LazyLock::new(|| gauge!("edge_in_flight"));

static OF_MODELS: [Series; Shape::ALL.len()] = [const { Series::new() }; Shape::ALL.len()];

/// What is told of requests of one kind.
#[derive(Debug)]
pub struct Series {
    /// Requests that were answered with 200.
    pub good: OnceLock<Counter>,
    /// How long requests took.
    pub seconds: OnceLock<Histogram>,
    /// How long they were the edge's own.
    pub added: OnceLock<Histogram>,
}

impl Series {
    const fn new() -> Self {
        Self {
            good: OnceLock::new(),
            seconds: OnceLock::new(),
            added: OnceLock::new(),
        }
    }

    /// Of calls of models of this shape.
    #[must_use]
    pub fn of(shape: Shape) -> &'static Self {
        &OF_MODELS[shape as usize]
    }
}

/// A metric that is kept at a place once it was found; without a place it is found now.
pub fn kept<M: Clone>(place: Option<&OnceLock<M>>, find: impl FnOnce() -> M) -> M {
    match place {
        Some(place) => place.get_or_init(find).clone(),
        None => find(),
    }
}
