//! The journal: what was dispatched, how far it got, how it ended. One writer commits in groups;
//! nothing that a client pays for leaves before its row is durable.

pub mod batch;
pub mod epoch;
pub mod recovery;
pub mod writer;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use chrono::{DateTime, Utc};
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, timeout, timeout_at},
};
use wanwu_ids::{AccountId, AppId, CallId, KeyId, LeaseId};

use crate::{
    config::JournalConfig,
    credit::Hold,
    domain::usage::{Outcome, Prices, Source, Tokens},
};

/// A call that goes to an engine.
#[derive(Clone, Debug)]
pub struct Dispatch {
    /// The call.
    pub call_id: CallId,
    /// The lease that pays.
    pub lease_id: LeaseId,
    /// Who pays.
    pub account_id: AccountId,
    /// The app.
    pub app_id: AppId,
    /// The key.
    pub key_id: KeyId,
    /// The model's name in the catalogue.
    pub model: String,
    /// The prices that apply.
    pub prices: Prices,
    /// What is held: no bill exceeds it.
    pub bound: Tokens,
    /// The trace of the call (W3C `traceparent`).
    pub traceparent: Option<String>,
    /// When.
    pub dispatched_at: DateTime<Utc>,
    /// The client's key: good for one call in 24 hours.
    pub idempotency_key: Option<String>,
}

/// What was sent of a call so far.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// The call.
    pub call_id: CallId,
    /// Tokens of the prompt, and tokens that were sent.
    pub tokens: Tokens,
}

/// How a call ended.
#[derive(Debug)]
pub struct Final {
    /// The call as it was dispatched.
    pub call: Arc<Dispatch>,
    /// How it ended.
    pub outcome: Outcome,
    /// What is billed; at most the bound.
    pub tokens: Tokens,
    /// Where the counts come from.
    pub source: Source,
    /// How many engines were tried.
    pub attempts: i16,
    /// When.
    pub finished_at: DateTime<Utc>,
    /// The class code, where the screen stopped it.
    pub violation: Option<String>,
    /// The credit; settled when the row is durable. None: it was settled otherwise.
    pub hold: Option<Hold>,
}

/// A request that the screen refused before it was dispatched.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// The id that the call would have had.
    pub call_id: CallId,
    /// Whose request.
    pub account_id: AccountId,
    /// The class code.
    pub class_code: String,
    /// The trace of the request.
    pub traceparent: Option<String>,
}

/// Why a call may not go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotDispatched {
    /// The row did not become durable in time.
    #[error("the journal did not take the call in time")]
    Unavailable,
    /// The client's key was used in the last 24 hours.
    #[error("the idempotency key was used")]
    Duplicate,
}

/// The final row did not become durable in time; the writer goes on trying.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the journal did not take the end of the call in time")]
pub struct NotDurable;

/// What goes to the writer.
#[derive(Debug)]
pub enum Entry {
    /// See [`Dispatch`].
    Dispatch {
        /// The row.
        row: Arc<Dispatch>,
        /// Not to be begun after this.
        deadline: Instant,
        /// The answer.
        reply: oneshot::Sender<Result<(), NotDispatched>>,
    },
    /// See [`Progress`].
    Progress(Progress),
    /// See [`Final`].
    Final {
        /// The row.
        row: Box<Final>,
        /// Told when it is durable.
        reply: oneshot::Sender<()>,
    },
    /// See [`Refusal`].
    Refusal {
        /// What was refused.
        refusal: Refusal,
        /// Told when it is durable.
        reply: oneshot::Sender<()>,
    },
}

/// The way to the writer.
#[derive(Clone, Debug)]
pub struct Journal {
    entries: mpsc::UnboundedSender<Entry>,
    /// Entries on their way. Final rows are never refused: there are as many of them as running
    /// calls, which admission bounds. Everything else is refused above the limit.
    depth: Arc<AtomicUsize>,
    limit: usize,
    dispatch_timeout: Duration,
    final_timeout: Duration,
}

impl Journal {
    /// A journal and the end that the writer reads.
    #[must_use]
    pub fn new(config: &JournalConfig) -> (Self, writer::Inbox) {
        let (entries, inbox) = mpsc::unbounded_channel();
        let depth = Arc::new(AtomicUsize::new(0));
        let journal = Self {
            entries,
            depth: depth.clone(),
            limit: config.max_waiting,
            dispatch_timeout: config.dispatch_timeout,
            final_timeout: config.final_timeout,
        };
        (journal, writer::Inbox::new(inbox, depth))
    }

    /// Writes the dispatch row; answers when it is durable.
    ///
    /// When this fails with `Unavailable` the row may yet have become durable: the caller must
    /// follow it with a final row.
    pub async fn dispatch(&self, row: Arc<Dispatch>) -> Result<(), NotDispatched> {
        if self.depth.load(Ordering::Relaxed) >= self.limit {
            return Err(NotDispatched::Unavailable);
        }
        let deadline = Instant::now() + self.dispatch_timeout;
        let (reply, answer) = oneshot::channel();
        self.send(Entry::Dispatch {
            row,
            deadline,
            reply,
        });
        match timeout_at(deadline, answer).await {
            Ok(Ok(result)) => result,
            _ => Err(NotDispatched::Unavailable),
        }
    }

    /// Records what was sent so far. Under pressure it is left out: it only bounds what a kill
    /// gives away.
    pub fn progress(&self, progress: Progress) {
        if self.depth.load(Ordering::Relaxed) < self.limit {
            self.send(Entry::Progress(progress));
        }
    }

    /// Writes the final row; answers when it is durable. The row is on its way at once, whether
    /// or not anybody waits.
    pub fn finish(&self, row: Final) -> impl Future<Output = Result<(), NotDurable>> + use<> {
        let (reply, durable) = oneshot::channel();
        self.send(Entry::Final {
            row: Box::new(row),
            reply,
        });
        let limit = self.final_timeout;
        async move {
            match timeout(limit, durable).await {
                Ok(Ok(())) => Ok(()),
                _ => Err(NotDurable),
            }
        }
    }

    /// Tells of a request that the screen refused; answers when that is durable.
    pub async fn refuse(&self, refusal: Refusal) -> Result<(), NotDurable> {
        if self.depth.load(Ordering::Relaxed) >= self.limit {
            return Err(NotDurable);
        }
        let (reply, durable) = oneshot::channel();
        self.send(Entry::Refusal { refusal, reply });
        match timeout(self.dispatch_timeout, durable).await {
            Ok(Ok(())) => Ok(()),
            _ => Err(NotDurable),
        }
    }

    fn send(&self, entry: Entry) {
        self.depth.fetch_add(1, Ordering::Relaxed);
        // Without a writer the process is ending; whoever waits is told by its dropped channel.
        let _ = self.entries.send(entry);
    }
}
