//! Metrics that every call tells, found once. A metric is found by its name and its labels, and these are made anew
//! each time that it is looked for.

use std::sync::OnceLock;

use metrics::{Counter, Histogram};

use crate::domain::shape::Shape;

/// What is told of the calls of one model that go as they should. What else comes of calls is rare, and found each
/// time.
#[derive(Debug, Default)]
pub struct Series {
    /// Waits for a turn that ended with a place.
    pub placed: OnceLock<Histogram>,
    shapes: [OfShape; Shape::ALL.len()],
}

/// The same of its calls of one shape for which it is charged and which it answers.
#[derive(Debug, Default)]
pub struct OfShape {
    /// Calls that were completed.
    pub completed: OnceLock<Counter>,
    /// How long those took.
    pub duration: OnceLock<Histogram>,
    /// How long the first token took.
    pub first_token: OnceLock<Histogram>,
    /// How long each token after it took.
    pub each_token: OnceLock<Histogram>,
    /// How far apart the chunks of a stream came.
    pub gaps: OnceLock<Histogram>,
    /// Tokens of a prompt.
    pub input: OnceLock<Histogram>,
    /// Tokens of the answers to it.
    pub output: OnceLock<Histogram>,
    /// Tokens of prompts that were found in a cache.
    pub cached_input: OnceLock<Counter>,
}

impl Series {
    /// Those of a shape.
    #[must_use]
    pub const fn of(&self, shape: Shape) -> &OfShape {
        &self.shapes[shape as usize]
    }
}

/// A metric that is kept at a place once it was found; without a place it is found now.
pub fn kept<M: Clone>(place: Option<&OnceLock<M>>, find: impl FnOnce() -> M) -> M {
    match place {
        Some(place) => place.get_or_init(find).clone(),
        None => find(),
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn what_has_a_place_is_found_once_and_the_rest_each_time() {
        let found = Cell::new(0);
        let find = || {
            found.set(found.get() + 1);
            Counter::noop()
        };
        let place = OnceLock::new();
        for _ in 0..2 {
            kept(Some(&place), find).increment(1);
        }
        assert_eq!(found.get(), 1);
        for _ in 0..2 {
            kept(None, find).increment(1);
        }
        assert_eq!(found.get(), 3);
    }
}
