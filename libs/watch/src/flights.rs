use std::{collections::HashMap, sync::Arc};

use tokio::sync::watch;

use crate::{Item, Unknown};

/// An answer, `None` while it is awaited.
pub(crate) type Answer<T> = Option<Result<Option<Arc<T>>, Unknown>>;

/// The questions under way, one a key.
pub(crate) struct Flights<T> {
    by_key: HashMap<String, Flight<T>>,
}

struct Flight<T> {
    answer: watch::Sender<Answer<T>>,
    /// The latest value that the watch told meanwhile: the answer may have been read before it.
    told: Option<Arc<T>>,
    /// The watch began anew meanwhile: the answer may be older than what the watch will tell, so
    /// it is not kept.
    outdated: bool,
}

/// What became of a question.
pub(crate) struct Landed<T> {
    pub(crate) answer: watch::Sender<Answer<T>>,
    pub(crate) told: Option<Arc<T>>,
    pub(crate) outdated: bool,
}

impl<T: Item> Flights<T> {
    pub(crate) fn new() -> Self {
        Self {
            by_key: HashMap::new(),
        }
    }

    /// The answer to come, and whether the caller has to ask for it.
    pub(crate) fn join(&mut self, key: &str) -> (watch::Receiver<Answer<T>>, bool) {
        if let Some(flight) = self.by_key.get(key) {
            return (flight.answer.subscribe(), false);
        }
        let (answer, receiver) = watch::channel(None);
        let flight = Flight {
            answer,
            told: None,
            outdated: false,
        };
        self.by_key.insert(key.to_owned(), flight);
        (receiver, true)
    }

    pub(crate) fn tell(&mut self, value: &Arc<T>) {
        let Some(flight) = self.by_key.get_mut(value.key()) else {
            return;
        };
        if flight
            .told
            .as_ref()
            .is_none_or(|told| told.version() < value.version())
        {
            flight.told = Some(Arc::clone(value));
        }
    }

    pub(crate) fn outdate(&mut self) {
        for flight in self.by_key.values_mut() {
            flight.outdated = true;
        }
    }

    pub(crate) fn land(&mut self, key: &str) -> Option<Landed<T>> {
        let Flight {
            answer,
            told,
            outdated,
        } = self.by_key.remove(key)?;
        Some(Landed {
            answer,
            told,
            outdated,
        })
    }
}
