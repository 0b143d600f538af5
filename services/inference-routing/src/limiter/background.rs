//! What the limiter does beside calls: takes more before it runs out, gives back what is idle.

use std::{collections::BTreeMap, time::Duration};

use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::{Limiter, now};
use crate::{
    domain::{allowance::Surplus, limits::Bound},
    store::limit_allowances,
};

/// How often all allowances are looked through for what rested.
const TICK: Duration = Duration::from_millis(250);
/// How often what is of no use any more is forgotten.
const FORGET_EVERY: Duration = Duration::from_secs(300);
/// The shortest time between two rounds: a round serves all calls of that time.
const BREATH: Duration = Duration::from_millis(2);

impl Limiter {
    /// Follows rules and keeps allowances until `stop`; then gives back what no call holds.
    pub async fn run(&self, stop: CancellationToken) {
        tokio::join!(
            self.rules.follow(&self.pool, stop.clone()),
            self.keep(stop.clone()),
            self.forget(stop),
        );
    }

    async fn keep(&self, stop: CancellationToken) {
        let mut looked = Instant::now();
        while !stop.is_cancelled() {
            self.refill().await;
            let over = self.allowances.lock().is_over();
            if over || looked.elapsed() >= TICK {
                self.give_back(false).await;
                looked = Instant::now();
            }
            sleep(BREATH).await;
            tokio::select! {
                () = self.wake.notified() => {}
                () = sleep(TICK) => {}
                () = stop.cancelled() => {}
            }
        }
    }

    async fn refill(&self) {
        let low = std::mem::take(&mut *self.low.lock());
        // One want a limit, in the order in which everybody takes them.
        let wants: BTreeMap<Bound, _> = low.into_iter().map(|want| (want.bound, want)).collect();
        let wants: Vec<_> = wants.into_values().collect();
        if !wants.is_empty() && self.ask(&wants).await.is_err() {
            tracing::debug!("allowances could not be taken before they ran out");
        }
    }

    /// Gives back what is not needed here; with `all`, everything that no call holds.
    pub async fn give_back(&self, all: bool) {
        let surplus: Vec<Surplus> = self.allowances.lock().surplus(all, now());
        metrics::gauge!("inference_routing_limits_held").set(self.allowances.lock().len() as f64);
        if surplus.is_empty() {
            return;
        }
        // Not in a hurry, and not given up: whether it arrived must be known.
        if let Err(error) = limit_allowances::give(&self.pool, self.epoch, &surplus).await {
            self.allowances.lock().restore(&surplus, now());
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "unused allowances cannot be given back"
            );
        }
    }

    async fn forget(&self, stop: CancellationToken) {
        let mut last = Instant::now();
        while !stop.is_cancelled() {
            if last.elapsed() >= FORGET_EVERY {
                last = Instant::now();
                if let Err(error) = limit_allowances::forget_old(&self.pool).await {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "old allowances could not be forgotten"
                    );
                }
            }
            tokio::select! {
                () = sleep(FORGET_EVERY.saturating_sub(last.elapsed())) => {}
                () = stop.cancelled() => {}
            }
        }
    }
}
