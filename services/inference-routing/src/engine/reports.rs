//! Reads the metrics of engines that have some: beside calls, never on a call's path.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures::future::join_all;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::{client::EngineClient, pool::Pool};
use crate::domain::engine_report::{EngineReport, Reports};

/// A pool whose engines say what they do.
#[derive(Clone, Debug)]
pub struct Reporting {
    /// Its engines.
    pub pool: Arc<Pool>,
    /// Whose metrics they have.
    pub reports: Reports,
}

/// Reads the metrics of each engine of each pool each `every` until `stop`.
pub async fn follow_reports(
    client: EngineClient,
    pools: Vec<Reporting>,
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
        join_all(pools.iter().map(|pool| pool.once(&client))).await;
    }
}

impl Reporting {
    async fn once(&self, client: &EngineClient) {
        let engines = self.pool.engines();
        let read = engines.iter().map(|(id, engine, ..)| async {
            // One that says nothing is as one that is not asked: what it said last fades.
            let text = client.metrics(engine).await?;
            let report = EngineReport::read(self.reports, &text)?;
            self.pool.reported(*id, engine, &report, Instant::now());
            Some(())
        });
        join_all(read).await;
    }
}
