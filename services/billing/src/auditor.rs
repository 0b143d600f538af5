//! Signs where the ledger stands and proves that nobody rewrote it: the command `billing audit`,
//! and the tasks that do both unasked. It needs the database and the keys, not the service.

use std::time::Duration;

use chrono::SubsecRound;
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;
use wanwu_clock::SharedClock;
use wanwu_personal::KeyProvider;

use crate::{
    domain::checkpoint::{Checkpoint, CheckpointKeys},
    store::checkpoints,
};

mod checkpoint_audit;
mod entry_audit;
mod report;

pub use report::{Report, Wrong};

/// What the checkpoints' keys are derived for.
const PURPOSE: &str = "billing.ledger_checkpoints";
/// Between two checkpoints, when something was booked.
const CHECKPOINT: Duration = Duration::from_secs(600);
/// Between two audits of everything.
const AUDIT: Duration = Duration::from_secs(6 * 3600);

/// Who signs and audits.
pub struct Auditor {
    pool: PgPool,
    clock: SharedClock,
    keys: CheckpointKeys,
}

impl Auditor {
    /// An auditor with these keys.
    #[must_use]
    pub fn new(pool: PgPool, clock: SharedClock, keys: CheckpointKeys) -> Self {
        Self { pool, clock, keys }
    }

    /// The keys of the service's checkpoints, from its secret file: one for each of its keys, so
    /// that a checkpoint is proved after another key became active.
    #[must_use]
    pub fn keys(keys: &KeyProvider) -> CheckpointKeys {
        let seeds = keys.ids().filter_map(|id| {
            let seed = keys.secret_of(id, PURPOSE).ok()?;
            Some((id, *seed))
        });
        CheckpointKeys::new(keys.active(), seeds)
    }

    /// Signs where the chains stand; `None`: nothing was booked since the last time, or another
    /// replica signs.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn make_checkpoint(&self) -> sqlx::Result<Option<Checkpoint>> {
        let mut tx = self.pool.begin().await?;
        sqlx::query("set transaction isolation level repeatable read")
            .execute(&mut *tx)
            .await?;
        if !checkpoints::take_turn(&mut tx).await? {
            return Ok(None);
        }
        let (last, previous) = checkpoints::last(&mut tx).await?;
        let heads = checkpoints::moved(&mut tx).await?;
        if heads.is_empty() {
            return Ok(None);
        }
        let checkpoint = Checkpoint {
            number: last + 1,
            made_at: self.clock.now().trunc_subsecs(6),
            previous,
            heads,
        };
        let digest = checkpoint.digest();
        let signature = self.keys.sign(&digest);
        checkpoints::insert(&mut tx, &checkpoint, self.keys.active(), &signature).await?;
        tx.commit().await?;
        // The log is a place that who rewrites the database does not reach.
        tracing::info!(
            number = checkpoint.number,
            digest = hex::encode(digest),
            heads = checkpoint.heads.len(),
            "the ledger is signed"
        );
        Ok(Some(checkpoint))
    }

    /// Recomputes every balance, every hash and every checkpoint from the entries, at one instant.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn audit(&self) -> sqlx::Result<Report> {
        let mut tx = self.pool.begin().await?;
        crate::store::chain::read_at_one_instant(&mut tx).await?;
        let mut report = Report::default();
        entry_audit::run(&mut tx, &mut report).await?;
        checkpoint_audit::run(&mut tx, &self.keys, &mut report).await?;
        Ok(report)
    }

    /// Signs and audits again and again until stopped.
    pub async fn run(self, stop: CancellationToken) {
        let signing = async {
            while pause(&stop, CHECKPOINT).await {
                if let Err(error) = self.make_checkpoint().await {
                    let error: &dyn std::error::Error = &error;
                    tracing::warn!(error, "the ledger cannot be signed");
                }
            }
        };
        let auditing = async {
            while pause(&stop, AUDIT).await {
                match self.audit().await {
                    Ok(report) => tell(&report),
                    Err(error) => {
                        let error: &dyn std::error::Error = &error;
                        tracing::warn!(error, "the ledger cannot be audited");
                    }
                }
            }
        };
        tokio::join!(signing, auditing);
    }
}

async fn pause(stop: &CancellationToken, time: Duration) -> bool {
    stop.run_until_cancelled(tokio::time::sleep(time))
        .await
        .is_some()
}

fn tell(report: &Report) {
    if let Some(first) = report.wrong.first() {
        tracing::error!(%first, count = report.wrong.len(), "the ledger was rewritten");
    }
    metrics::gauge!("wanwu_ledger_imbalance", "looked_at" => "chain")
        .set(report.wrong.len() as f64);
}
