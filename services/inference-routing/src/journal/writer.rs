//! The one task that writes the journal of this epoch.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use sqlx::{PgConnection, PgPool};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;
use wanwu_ids::{EpochId, Ids};

use super::{Entry, batch::Batch};
use crate::{
    config::JournalConfig,
    store::journal::{self, WriteError, Written},
};

/// Where entries arrive.
#[derive(Debug)]
pub struct Inbox {
    entries: mpsc::UnboundedReceiver<Entry>,
    depth: Arc<AtomicUsize>,
}

/// Up to so many rows of a group nobody else comes while it waits.
const ALONE: usize = 2;

/// Writes the journal.
pub struct Writer {
    inbox: Inbox,
    pool: PgPool,
    /// Its own, not the pool's: whatever state it is left in, nobody else gets it.
    connection: Option<PgConnection>,
    /// Rows of the last group.
    company: usize,
    /// Ends of calls that were dispatched in the last group.
    next: VecDeque<Entry>,
    epoch: EpochId,
    ids: Ids,
    config: JournalConfig,
}

/// Another replica took this process for dead and fenced its epoch: it may write no row. The
/// process must end and begin a new epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the epoch of this process is fenced")]
pub struct Fenced;

impl Inbox {
    pub(super) const fn new(
        entries: mpsc::UnboundedReceiver<Entry>,
        depth: Arc<AtomicUsize>,
    ) -> Self {
        Self { entries, depth }
    }

    async fn next(&mut self) -> Option<Entry> {
        let entry = self.entries.recv().await;
        self.depth
            .fetch_sub(usize::from(entry.is_some()), Ordering::Relaxed);
        entry
    }

    /// What is here already.
    fn ready(&mut self) -> Option<Entry> {
        let entry = self.entries.try_recv().ok();
        self.depth
            .fetch_sub(usize::from(entry.is_some()), Ordering::Relaxed);
        entry
    }
}

impl Writer {
    /// A writer of `epoch`.
    #[must_use]
    pub fn new(
        inbox: Inbox,
        pool: PgPool,
        epoch: EpochId,
        ids: Ids,
        config: JournalConfig,
    ) -> Self {
        Self {
            inbox,
            pool,
            connection: None,
            company: 0,
            next: VecDeque::new(),
            epoch,
            ids,
            config,
        }
    }

    /// Writes until `stop` and until nothing waits any more, or the epoch is fenced.
    pub async fn run(mut self, stop: CancellationToken) -> Result<(), Fenced> {
        loop {
            let first = match self.next.pop_front() {
                Some(entry) => Some(entry),
                None => tokio::select! {
                    biased;
                    entry = self.inbox.next() => entry,
                    () = stop.cancelled() => None,
                },
            };
            let Some(first) = first else { return Ok(()) };
            let batch = self.gather(first).await;
            self.commit(batch).await?;
        }
    }

    /// Takes what is here, and waits for company, at most `group_wait` and up to `group_rows`. Where
    /// the last group had none, waiting would only make calls late.
    async fn gather(&mut self, first: Entry) -> Batch {
        let mut batch = Batch::default();
        let mut next = VecDeque::new();
        let waiting = std::mem::take(&mut self.next);
        for entry in [first].into_iter().chain(waiting) {
            next.extend(batch.add(entry));
        }
        let most = self.config.group_rows;
        while batch.len() < most
            && let Some(entry) = self.inbox.ready()
        {
            next.extend(batch.add(entry));
        }
        // One timer for all that come: one for each would be set before the runtime's next, which makes it
        // write to itself.
        let waited = sleep_until(Instant::now() + self.config.group_wait);
        tokio::pin!(waited);
        while self.company.max(batch.len()) > ALONE && batch.len() < most {
            let entry = tokio::select! {
                biased;
                entry = self.inbox.next() => entry,
                () = &mut waited => None,
            };
            let Some(entry) = entry else { break };
            next.extend(batch.add(entry));
        }
        self.next = next;
        self.company = batch.len();
        batch
    }

    /// Commits a batch, however often the database goes away; each row lands once.
    async fn commit(&mut self, mut batch: Batch) -> Result<(), Fenced> {
        let started = Instant::now();
        loop {
            batch.refuse_late_and_doubled(Instant::now());
            if batch.is_empty() {
                return Ok(());
            }
            match self.write(&batch).await {
                Ok(written) => {
                    metrics::histogram!("inference_routing_journal_commit_seconds")
                        .record(started.elapsed());
                    metrics::histogram!("inference_routing_journal_batch_rows")
                        .record(u32::try_from(batch.len()).unwrap_or(u32::MAX));
                    batch.answer(&written);
                    // The relay need not wait for its next look.
                    wanwu_events::wake();
                    return Ok(());
                }
                Err(WriteError::Fenced) => return Err(Fenced),
                Err(WriteError::Database(error)) if !wanwu_postgres::is_transient(&error) => {
                    if batch.len() == 1 {
                        // Nothing can be done with it now. Its credit stays held, so that its
                        // lease stays open until recovery has closed the call.
                        batch.abandon();
                        tracing::error!(
                            error = &error as &dyn std::error::Error,
                            "the database refuses a row of the journal"
                        );
                        metrics::counter!("inference_routing_journal_rows_refused").increment(1);
                        return Ok(());
                    }
                    for single in batch.singles() {
                        Box::pin(self.commit(single)).await?;
                    }
                    return Ok(());
                }
                Err(WriteError::Database(error)) => {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "the journal cannot be written, trying again"
                    );
                    sleep(self.config.retry_wait).await;
                }
            }
        }
    }

    async fn write(&mut self, batch: &Batch) -> Result<Written, WriteError> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.pool.acquire().await?.detach(),
        };
        let work = journal::write(&mut connection, self.epoch, &self.ids, batch);
        let result = match timeout(self.config.write_timeout, work).await {
            Ok(result) => result,
            Err(_) => Err(WriteError::Database(sqlx::Error::PoolTimedOut)),
        };
        // One that failed may be in the middle of anything.
        self.connection = result.is_ok().then_some(connection);
        result
    }
}
