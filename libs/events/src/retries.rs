//! Tries again what failed, from the database: the broker's queue is not a place to wait in.

use std::{sync::Arc, time::Duration};

use futures::{StreamExt, stream};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::{
    apply::{Applier, Origin},
    failure::chain,
    inbox::{self, Kept},
};

/// How often the table is looked at.
const POLL: Duration = Duration::from_millis(200);
/// Events in one round.
const BATCH: i64 = 16;
/// Events at the same time.
const WORKERS: usize = 2;
/// How long a replica has an event for itself.
const LEASE: chrono::Duration = chrono::Duration::seconds(60);

pub(crate) async fn run(applier: Arc<Applier>, stop: CancellationToken) {
    let queues: Vec<String> = applier.routes.keys().cloned().collect();
    let mut ticks = interval(POLL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        match due(&applier, &queues).await {
            Ok(kept) => {
                stream::iter(kept)
                    .for_each_concurrent(WORKERS, |kept| again(&applier, kept, &stop))
                    .await;
            }
            Err(error) => tracing::warn!(error = chain(&error), "cannot read what to try again"),
        }
    }
}

async fn due(applier: &Applier, queues: &[String]) -> Result<Vec<Kept>, sqlx::Error> {
    let mut connection = applier.pool.acquire().await?;
    inbox::lease_due(&mut connection, queues, applier.clock.now(), LEASE, BATCH).await
}

async fn again(applier: &Applier, kept: Kept, stop: &CancellationToken) {
    if let Some(route) = applier.routes.get(&kept.queue) {
        applier
            .settle(route, &kept.incoming(), Origin::Retry, stop)
            .await;
    }
}
