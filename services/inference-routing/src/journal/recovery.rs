//! After a kill: the calls of a dead epoch are billed at what was recorded of them, and its
//! leases go back. Any replica does it, each second; it may be killed at any point and begun
//! again by another.

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use sqlx::PgPool;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use wanwu_clock::SharedClock;
use wanwu_ids::{EpochId, Ids, LeaseId};

use super::epoch::Epoch;
use crate::{
    credit::lender::{LendError, Lender},
    domain::usage::{Outcome, Source, Tokens},
    store::{
        calls::{self, Ended, OpenCall},
        epochs, usage_events,
    },
};

/// Calls that are closed in one transaction.
const CALLS_AT_ONCE: i64 = 256;

/// Recovers what dead epochs left.
pub struct Recovery {
    /// The journal's database.
    pub pool: PgPool,
    /// This process's own epoch, which it never judges.
    pub own: Arc<Epoch>,
    /// Where leases go back to.
    pub lender: Lender,
    /// Makes the ids of events.
    pub ids: Ids,
    /// When calls end.
    pub clock: SharedClock,
    /// Tokens of an answer that a kill can leave unrecorded: one progress window.
    pub window: u64,
}

/// Why an epoch could not be settled now.
#[derive(Debug, thiserror::Error)]
pub enum RecoveryError {
    /// The database failed.
    #[error("the journal's database failed")]
    Database(#[from] sqlx::Error),
    /// Billing did not take a lease back.
    #[error("billing did not take a lease back")]
    Billing(#[from] LendError),
}

impl Recovery {
    /// Recovers each `every` until `stop`.
    pub async fn run(&self, every: Duration, stop: CancellationToken) {
        let mut ticks = interval(every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = stop.cancelled() => return,
            }
            if let Err(error) = self.step().await {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "recovery could not go on"
                );
            }
        }
    }

    /// Fences what lapsed, where this process may judge that, and settles what is fenced.
    pub async fn step(&self) -> Result<(), RecoveryError> {
        if self.own.may_judge() {
            let mut tx = self.pool.begin().await?;
            let fenced = epochs::fence_lapsed(&mut tx, self.own.id()).await?;
            tx.commit().await?;
            metrics::counter!("inference_routing_epochs_fenced").increment(fenced);
        }
        for epoch in epochs::unsettled(&self.pool).await? {
            if let Err(error) = self.settle(epoch).await {
                tracing::warn!(epoch.id = %epoch, error = &error as &dyn std::error::Error, "an epoch could not be settled");
            }
        }
        Ok(())
    }

    /// Closes the calls of a fenced epoch, then its leases.
    async fn settle(&self, epoch: EpochId) -> Result<(), RecoveryError> {
        while self.close_some(epoch).await? > 0 {}
        for lease in self.lender.fence(epoch).await? {
            self.close_lease(epoch, lease).await?;
        }
        epochs::settled(&self.pool, epoch).await?;
        tracing::info!(epoch.id = %epoch, "an epoch is settled");
        Ok(())
    }

    async fn close_some(&self, epoch: EpochId) -> Result<usize, RecoveryError> {
        let mut tx = self.pool.begin().await?;
        let open = calls::lock_open(&mut tx, epoch, CALLS_AT_ONCE).await?;
        let now = self.clock.now();
        let ended: Vec<Ended> = open.iter().map(|call| recovered(call, now)).collect();
        calls::close(&mut tx, &ended).await?;
        usage_events::publish_recovered(&mut tx, &self.ids, &open, now).await?;
        if !open.is_empty() {
            wanwu_crash::point("recovery.before_commit");
        }
        tx.commit().await?;
        if !open.is_empty() {
            wanwu_crash::point("recovery.committed");
        }
        self.report(&open);
        Ok(open.len())
    }

    async fn close_lease(&self, epoch: EpochId, lease: LeaseId) -> Result<(), RecoveryError> {
        let total = calls::lease_total(&self.pool, lease).await?;
        self.lender.close(epoch, lease, total).await?;
        Ok(())
    }

    /// Counts what the kill may have given away, at most.
    fn report(&self, open: &[OpenCall]) {
        let given_away = open.iter().map(|call| {
            let bound = u64::try_from(call.output_bound).unwrap_or_default();
            let Tokens { output, .. } = call.billable();
            bound.saturating_sub(output).min(self.window)
        });
        metrics::counter!("inference_routing_calls_recovered").increment(open.len() as u64);
        metrics::counter!("inference_routing_recovery_given_away_tokens_at_most")
            .increment(given_away.sum());
    }
}

fn recovered(call: &OpenCall, now: DateTime<Utc>) -> Ended {
    Ended {
        call_id: call.call_id,
        outcome: Outcome::Recovered,
        attempts: None,
        tokens: call.billable(),
        amount_nanos: call.prices().cost(call.billable()),
        source: Source::Progress.as_str(),
        finished_at: now,
    }
}
