//! Entries that are committed together.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use tokio::{sync::oneshot, time::Instant};
use wanwu_ids::{AppId, CallId};

use super::{Dispatch, Entry, Final, NotDispatched, Progress, Refusal};
use crate::{credit::Hold, store::calls::Written};

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

    /// Takes an entry in.
    pub fn add(&mut self, entry: Entry) {
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
