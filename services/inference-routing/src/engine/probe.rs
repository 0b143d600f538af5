//! Asks engines how they are.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures::future::join_all;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::{client::EngineClient, pool::Engine};

/// Asks each engine, at its path, each `every` until `stop`.
pub async fn probe(
    client: EngineClient,
    engines: Vec<(Arc<Engine>, String)>,
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
        let now = Instant::now();
        let due = engines
            .iter()
            .filter(|(engine, _)| engine.is_to_be_probed(now));
        join_all(due.map(|(engine, path)| probe_one(&client, engine, path))).await;
    }
}

async fn probe_one(client: &EngineClient, engine: &Engine, path: &str) {
    let was_well = engine.is_well();
    if client.is_well(engine, path).await {
        engine.succeeded();
    } else {
        engine.failed(false, Instant::now());
    }
    let is_well = engine.is_well();
    metrics::gauge!("inference_routing_engine_well", "engine" => engine.url.clone())
        .set(if is_well { 1.0 } else { 0.0 });
    if was_well != is_well {
        tracing::info!(
            engine.url,
            engine.well = is_well,
            "an engine changed its health"
        );
    }
}
