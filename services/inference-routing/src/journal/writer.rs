//! The one task that writes the journal of this epoch.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use sqlx::{PgConnection, PgPool, Postgres, pool::PoolConnection};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep, timeout, timeout_at},
};
use tokio_util::sync::CancellationToken;
use wanwu_ids::{EpochId, Ids};

use super::{Entry, batch::Batch};
use crate::{
    config::JournalConfig,
    store::calls::{self, WriteError},
};

/// Where entries arrive.
#[derive(Debug)]
pub struct Inbox {
    entries: mpsc::UnboundedReceiver<Entry>,
    depth: Arc<AtomicUsize>,
}

/// Writes the journal.
pub struct Writer {
    inbox: Inbox,
    pool: PgPool,
    connection: Option<PoolConnection<Postgres>>,
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
}

impl Writer {
    /// A writer of `epoch`.
    #[must_use]
    pub const fn new(
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
            epoch,
            ids,
            config,
        }
    }

    /// Writes until `stop` and until nothing waits any more, or the epoch is fenced.
    pub async fn run(mut self, stop: CancellationToken) -> Result<(), Fenced> {
        loop {
            let first = tokio::select! {
                biased;
                entry = self.inbox.next() => entry,
                () = stop.cancelled() => None,
            };
            let Some(first) = first else { return Ok(()) };
            let batch = self.gather(first).await;
            self.commit(batch).await?;
        }
    }

    /// Waits for company, at most `group_wait` and up to `group_rows`.
    async fn gather(&mut self, first: Entry) -> Batch {
        let mut batch = Batch::default();
        batch.add(first);
        let deadline = Instant::now() + self.config.group_wait;
        while batch.len() < self.config.group_rows {
            match timeout_at(deadline, self.inbox.next()).await {
                Ok(Some(entry)) => batch.add(entry),
                Ok(None) | Err(_) => break,
            }
        }
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

    async fn write(&mut self, batch: &Batch) -> Result<calls::Written, WriteError> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.pool.acquire().await?,
        };
        let work = write_once(&mut connection, self.epoch, &self.ids, batch);
        let result = match timeout(self.config.write_timeout, work).await {
            Ok(result) => result,
            Err(_) => Err(WriteError::Database(sqlx::Error::PoolTimedOut)),
        };
        match result {
            Ok(_) | Err(WriteError::Fenced) => self.connection = Some(connection),
            // Whatever state it is in, nobody else gets it.
            Err(WriteError::Database(_)) => drop(connection.detach()),
        }
        result
    }
}

async fn write_once(
    connection: &mut PgConnection,
    epoch: EpochId,
    ids: &Ids,
    batch: &Batch,
) -> Result<calls::Written, WriteError> {
    let mut tx = sqlx::Connection::begin(connection).await?;
    let written = calls::write(&mut tx, epoch, ids, batch).await?;
    if !batch.dispatches.is_empty() {
        wanwu_crash::point("dispatch.before_commit");
    }
    if !batch.finals.is_empty() {
        wanwu_crash::point("final.before_commit");
    }
    tx.commit().await?;
    if !batch.dispatches.is_empty() {
        wanwu_crash::point("dispatch.committed");
    }
    if !batch.progress.is_empty() {
        wanwu_crash::point("progress.committed");
    }
    if !batch.finals.is_empty() {
        wanwu_crash::point("final.committed");
    }
    Ok(written)
}
