//! Asks engines how they are, and shows how each stands.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures::future::join_all;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::{
    client::EngineClient,
    gauges::{show_blocks, show_count, show_gauges},
    pool::Pool,
};

/// A pool whose engines are asked.
#[derive(Clone, Debug)]
pub struct Probed {
    /// The model.
    pub model: String,
    /// Its engines.
    pub pool: Arc<Pool>,
    /// Where a `GET` says that one is well.
    pub path: String,
}

/// Asks each engine of each pool each `every` until `stop`.
pub async fn probe(
    client: EngineClient,
    pools: Vec<Probed>,
    every: Duration,
    stop: CancellationToken,
) {
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = stop.cancelled() => return,
        }
        join_all(pools.iter().map(|probed| probed.once(&client))).await;
    }
}

impl Probed {
    async fn once(&self, client: &EngineClient) {
        let engines = self.pool.engines();
        show_count(&self.model, engines.len());
        for (engine, blocks) in self.pool.remembered() {
            show_blocks(&self.model, &engine.url, blocks);
        }
        let asked = engines.iter().map(|(id, engine, state, running)| async {
            show_gauges(&self.model, &engine.url, *state, *running);
            let health = client.health(engine, &self.path).await;
            self.pool.asked(*id, engine, health, Instant::now());
        });
        join_all(asked).await;
    }
}
