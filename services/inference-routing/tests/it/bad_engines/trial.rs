//! A router with three engines that may go wrong, and clients that call it.

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use futures::future::join_all;
use inference_routing::{config::Sections, domain::shape::Shape};
use serde_json::{Value, json};
use sqlx::PgPool;
use tokio::time::Instant;

use super::engine::{BadEngine, Fault};
use crate::{
    metrics::Metrics,
    world::{World, chat, config},
};

pub const WORKERS: usize = 12;

/// What clients saw.
#[derive(Debug, Default)]
pub struct Seen {
    pub calls: AtomicU32,
    pub refused: AtomicU32,
    pub cut: AtomicU32,
}

pub struct Trial {
    pub world: World,
    pub engines: Vec<BadEngine>,
    /// What clients ask for.
    pub asked: (Shape, Value),
}

impl Trial {
    pub async fn start(pool: PgPool) -> Self {
        Self::start_with(pool, |sections| {
            sections.engines.first_token_timeout = Duration::from_millis(800);
        })
        .await
    }

    /// With some more settings changed.
    pub async fn start_with(pool: PgPool, change: impl FnOnce(&mut Sections)) -> Self {
        let mut engines = Vec::new();
        for _ in 0..3 {
            engines.push(BadEngine::start().await);
        }
        let urls: Vec<_> = engines.iter().map(|engine| engine.url.as_str()).collect();
        let addresses = config(&urls).models.remove(0).engines;
        let world = World::with(pool, |sections| {
            sections.models[0].engines = addresses;
            sections.engines.probe_every = Duration::from_millis(200);
            sections.engines.probe_timeout = Duration::from_millis(200);
            sections.engines.stall_timeout = Duration::from_millis(400);
            sections.engines.first_backoff = Duration::from_millis(300);
            sections.engines.slow_start = Duration::from_secs(1);
            change(sections);
        })
        .await;
        Self {
            world,
            engines,
            asked: (Shape::Chat, chat(true, json!({}))),
        }
    }

    /// With time enough for a first token that nobody should wait for.
    pub async fn start_patient(pool: PgPool) -> Self {
        Self::start_with(pool, |sections| {
            sections.engines.first_token_timeout = Duration::from_secs(60);
        })
        .await
    }

    /// Calls for so long, from as many clients as there are workers.
    pub async fn load(&self, long: Duration) -> Seen {
        self.load_from(WORKERS, long).await
    }

    pub async fn load_from(&self, workers: usize, long: Duration) -> Seen {
        let (seen, end) = (Seen::default(), Instant::now() + long);
        let (shape, body) = &self.asked;
        let workers = (0..workers).map(|_| async {
            while Instant::now() < end {
                seen.calls.fetch_add(1, Ordering::Relaxed);
                match self.world.call_as(*shape, body).await {
                    Err(error) => {
                        eprintln!("{error:?}");
                        seen.refused.fetch_add(1, Ordering::Relaxed);
                    }
                    Ok(got) if got.error.is_some() => {
                        seen.cut.fetch_add(1, Ordering::Relaxed);
                    }
                    Ok(_) => {}
                }
            }
        });
        join_all(workers).await;
        seen
    }

    /// How often the first engine was left out.
    pub fn left_out(&self, metrics: &Metrics) -> f64 {
        let of_first = [("engine", self.engines[0].url.as_str()), ("to", "ejected")];
        metrics.sum("inference_routing_engine_changes", &of_first)
    }

    /// Load with the fault, then until the engine is used again; answers what was seen with it and
    /// the calls that still reached the engine in its second half.
    pub async fn run(&self, fault: Fault) -> (Seen, u64) {
        self.load(Duration::from_millis(300)).await;
        let bad = &self.engines[0];
        bad.set(fault).await;
        let first = self.load(Duration::from_millis(1500)).await;
        let before = bad.calls();
        let second = self.load(Duration::from_millis(1500)).await;
        let later = bad.calls() - before;
        for (into, from) in [
            (&first.calls, &second.calls),
            (&first.refused, &second.refused),
            (&first.cut, &second.cut),
        ] {
            into.fetch_add(from.load(Ordering::Relaxed), Ordering::Relaxed);
        }
        bad.set(Fault::Nothing).await;
        let (healed, calls) = (Instant::now(), bad.calls());
        while bad.calls() < calls + 20 {
            assert!(
                healed.elapsed() < Duration::from_secs(20),
                "{fault:?}: it is not trusted again"
            );
            self.load(Duration::from_millis(100)).await;
        }
        println!(
            "{fault:?}: {first:?}, {later} calls reached it in the second half, used again after {:?}",
            healed.elapsed()
        );
        (first, later)
    }
}

pub fn at_most_one_in_a_thousand(seen: &Seen) {
    let (calls, refused) = (
        seen.calls.load(Ordering::Relaxed),
        seen.refused.load(Ordering::Relaxed),
    );
    assert!(calls > 100 && refused * 1000 <= calls, "{seen:?}");
}
