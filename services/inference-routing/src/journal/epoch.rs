//! The epoch: one life of this process. It is renewed each second; while it could not be, for
//! three seconds, new calls are refused, and after five others may take this process for dead.

use std::time::Duration;

use parking_lot::Mutex;
use sqlx::PgPool;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use wanwu_ids::EpochId;

use super::writer::Fenced;
use crate::{config::EpochConfig, store::epochs};

/// The epoch of this process.
#[derive(Debug)]
pub struct Epoch {
    id: EpochId,
    config: EpochConfig,
    renewed: Mutex<Option<Renewed>>,
}

#[derive(Clone, Copy, Debug)]
struct Renewed {
    /// When the last renewal that succeeded was asked for.
    last: Instant,
    /// Since when renewals have succeeded without a gap.
    since: Instant,
}

impl Epoch {
    /// An epoch that has not begun.
    #[must_use]
    pub const fn new(id: EpochId, config: EpochConfig) -> Self {
        Self {
            id,
            config,
            renewed: Mutex::new(None),
        }
    }

    /// Its id.
    #[must_use]
    pub const fn id(&self) -> EpochId {
        self.id
    }

    /// The epoch is alive for sure: calls may be dispatched.
    #[must_use]
    pub fn is_fresh(&self) -> bool {
        self.renewed
            .lock()
            .is_some_and(|r| r.last.elapsed() < self.config.refuse_after)
    }

    /// For a whole time to live this process could reach the database, and so could every other
    /// live one: whose epoch lapsed is dead. Right after an outage of the database all epochs
    /// have lapsed, and nobody is.
    #[must_use]
    pub fn may_judge(&self) -> bool {
        self.is_fresh()
            && self
                .renewed
                .lock()
                .is_some_and(|r| r.since.elapsed() >= self.config.ttl)
    }

    /// Begins the epoch and renews it until `stop`; then lets it go.
    pub async fn run(
        &self,
        pool: &PgPool,
        replica: &str,
        stop: CancellationToken,
    ) -> Result<(), Fenced> {
        let mut begun = false;
        while !stop.is_cancelled() {
            let asked = Instant::now();
            match timeout(self.config.renew_every * 2, self.beat(pool, replica, begun)).await {
                Ok(Ok(true)) => {
                    begun = true;
                    self.note(asked);
                }
                Ok(Ok(false)) => return Err(Fenced),
                Ok(Err(error)) => {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "the epoch cannot be renewed"
                    );
                }
                Err(_) => tracing::warn!("the epoch cannot be renewed in time"),
            }
            let wait = if begun {
                self.config.renew_every
            } else {
                Duration::from_millis(200)
            };
            let rest = wait.saturating_sub(asked.elapsed());
            tokio::select! {
                () = sleep(rest) => {}
                () = stop.cancelled() => {}
            }
        }
        let _ = timeout(self.config.renew_every, epochs::end(pool, self.id)).await;
        Ok(())
    }

    async fn beat(&self, pool: &PgPool, replica: &str, begun: bool) -> Result<bool, sqlx::Error> {
        if !begun {
            epochs::begin(pool, self.id, replica, self.config.ttl).await?;
        }
        epochs::renew(pool, self.id, self.config.ttl).await
    }

    fn note(&self, asked: Instant) {
        let mut renewed = self.renewed.lock();
        let gapless = renewed.filter(|r| asked - r.last < self.config.refuse_after);
        let since = gapless.map_or(asked, |r| r.since);
        *renewed = Some(Renewed { last: asked, since });
    }
}
