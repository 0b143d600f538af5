//! Entries that are committed together.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use tokio::{sync::oneshot, time::Instant};
use wanwu_ids::{AppId, CallId};

use super::{Dispatch, Entry, Final, NotDispatched, Progress, Refusal};
use crate::{credit::Hold, store::journal::Written};

/// Entries that are committed together, by kind.
#[derive(Debug, Default)]
pub struct Batch {
    /// Dispatch rows.
    pub dispatches: Vec<PendingDispatch>,
    /// The latest progress of each call.
    pub progress: HashMap<CallId, Progress>,
    /// Final rows.
    pub finals: Vec<(Box<Final>, oneshot::Sender<()>)>,
    /// Refused requests.
    pub refusals: Vec<(Refusal, oneshot::Sender<()>)>,
}

/// A dispatch row and who waits for it.
#[derive(Debug)]
pub struct PendingDispatch {
    /// The row.
    pub row: Arc<Dispatch>,
    deadline: Instant,
    reply: oneshot::Sender<Result<(), NotDispatched>>,
}

impl Batch {
    /// How many rows it writes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.dispatches.len() + self.progress.len() + self.finals.len() + self.refusals.len()
    }

    /// It writes nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes an entry in. The end of a call whose dispatch is in here is given back, for the next batch:
    /// all of a batch is written at once.
    pub fn add(&mut self, entry: Entry) -> Option<Entry> {
        if let Entry::Final { row, .. } = &entry
            && self
                .dispatches
                .iter()
                .any(|it| it.row.call_id == row.call.call_id)
        {
            return Some(entry);
        }
        match entry {
            Entry::Dispatch {
                row,
                deadline,
                reply,
            } => {
                self.dispatches.push(PendingDispatch {
                    row,
                    deadline,
                    reply,
                });
            }
            Entry::Progress(progress) => {
                self.progress.insert(progress.call_id, progress);
            }
            Entry::Final { row, reply } => {
                self.progress.remove(&row.call.call_id);
                self.finals.push((row, reply));
            }
            Entry::Refusal { refusal, reply } => self.refusals.push((refusal, reply)),
        }
        None
    }

    /// Refuses what waited too long, and of several calls with one key all but the first.
    pub fn refuse_late_and_doubled(&mut self, now: Instant) {
        let mut keys: HashSet<(AppId, String)> = HashSet::new();
        for pending in std::mem::take(&mut self.dispatches) {
            let key = pending
                .row
                .idempotency_key
                .clone()
                .map(|key| (pending.row.app_id, key));
            if pending.deadline <= now || pending.reply.is_closed() {
                pending.answer(Err(NotDispatched::Unavailable));
            } else if key.is_some_and(|key| !keys.insert(key)) {
                pending.answer(Err(NotDispatched::Duplicate));
            } else {
                self.dispatches.push(pending);
            }
        }
    }

    /// Tells everybody who waits that the batch is durable.
    pub fn answer(self, written: &Written) {
        for pending in self.dispatches {
            let duplicate = written.duplicates.contains(&pending.row.call_id);
            pending.answer(if duplicate {
                Err(NotDispatched::Duplicate)
            } else {
                Ok(())
            });
        }
        for (mut row, reply) in self.finals {
            if let Some(hold) = row.hold.take() {
                let billed = written.finished.contains(&row.call.call_id);
                hold.settle(if billed {
                    row.call.prices.cost(row.tokens)
                } else {
                    0
                });
            }
            let _ = reply.send(());
        }
        for (_, reply) in self.refusals {
            let _ = reply.send(());
        }
    }

    /// Gives it up: who waits is refused, what is held stays held.
    pub fn abandon(self) {
        for (row, _) in self.finals {
            row.hold.into_iter().for_each(Hold::abandon);
        }
    }

    /// Takes it apart, an entry each, so that one that the database refuses does not stop the
    /// others.
    #[must_use]
    pub fn singles(self) -> Vec<Self> {
        let dispatches = self.dispatches.into_iter().map(|pending| Self {
            dispatches: vec![pending],
            ..Self::default()
        });
        let progress = self.progress.into_iter().map(|(call, progress)| Self {
            progress: HashMap::from([(call, progress)]),
            ..Self::default()
        });
        let finals = self.finals.into_iter().map(|row| Self {
            finals: vec![row],
            ..Self::default()
        });
        let refusals = self.refusals.into_iter().map(|row| Self {
            refusals: vec![row],
            ..Self::default()
        });
        dispatches
            .chain(progress)
            .chain(finals)
            .chain(refusals)
            .collect()
    }
}

impl PendingDispatch {
    fn answer(self, result: Result<(), NotDispatched>) {
        let _ = self.reply.send(result);
    }
}

#[cfg(test)]
mod tests {
    use chrono::Utc;
    use uuid::Uuid;
    use wanwu_ids::Id;

    use super::*;
    use crate::domain::usage::{Outcome, Prices, Source, Tokens};

    fn dispatch(call: u128) -> Arc<Dispatch> {
        let id = Uuid::from_u128(call);
        Arc::new(Dispatch {
            call_id: Id::from_uuid(id),
            lease_id: Id::from_uuid(id),
            account_id: Id::from_uuid(id),
            app_id: Id::from_uuid(id),
            key_id: Id::from_uuid(id),
            model: "m".to_owned(),
            prices: Prices::tokens(1, 2, 10),
            bound: Tokens::of(1, 1),
            traceparent: None,
            dispatched_at: chrono::DateTime::<Utc>::UNIX_EPOCH,
            idempotency_key: None,
        })
    }

    fn begins(call: u128) -> Entry {
        Entry::Dispatch {
            row: dispatch(call),
            deadline: Instant::now(),
            reply: oneshot::channel().0,
        }
    }

    fn ends(call: u128) -> Entry {
        let row = Final {
            call: dispatch(call),
            outcome: Outcome::ClientGone,
            tokens: Tokens::default(),
            source: Source::Engine,
            attempts: 1,
            finished_at: chrono::DateTime::<Utc>::UNIX_EPOCH,
            violation: None,
            hold: None,
        };
        Entry::Final {
            row: Box::new(row),
            reply: oneshot::channel().0,
        }
    }

    #[test]
    fn the_end_of_a_call_is_not_written_together_with_its_dispatch() {
        let mut batch = Batch::default();
        assert!(batch.add(begins(1)).is_none());
        assert!(batch.add(ends(2)).is_none());
        let given_back = batch.add(ends(1)).unwrap();
        assert_eq!(batch.len(), 2);
        assert!(Batch::default().add(given_back).is_none());
    }
}
