//! The engines of one model: the least loaded of those that are well gets the next call.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use http::HeaderValue;
use parking_lot::Mutex;

/// How long an engine that failed is left alone before it is probed again, at first and at most.
const BACKOFF: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// One engine.
#[derive(Debug)]
pub struct Engine {
    /// Its address, without a path.
    pub url: String,
    /// The header that it wants.
    pub authorization: Option<HeaderValue>,
    running: AtomicUsize,
    health: Mutex<Health>,
    eject_after: u32,
}

#[derive(Debug, Default)]
struct Health {
    failures: u32,
    ejections: u32,
    ejected_until: Option<Instant>,
}

/// The engines of one model.
#[derive(Debug)]
pub struct Pool {
    engines: Vec<Arc<Engine>>,
    turn: AtomicUsize,
}

/// An engine at work: it counts as loaded until this is dropped.
#[derive(Debug)]
pub struct AtWork(Arc<Engine>);

impl Engine {
    /// An engine that is taken for well. After `eject_after` failures in a row it is left out.
    #[must_use]
    pub fn new(url: &str, authorization: Option<HeaderValue>, eject_after: u32) -> Self {
        Self {
            url: url.trim_end_matches('/').to_owned(),
            authorization,
            running: AtomicUsize::new(0),
            health: Mutex::default(),
            eject_after,
        }
    }

    /// It may get calls.
    #[must_use]
    pub fn is_well(&self) -> bool {
        self.health.lock().ejected_until.is_none()
    }

    /// It is time to ask how it is: always while it is well, else after its backoff.
    #[must_use]
    pub fn is_to_be_probed(&self, now: Instant) -> bool {
        self.health
            .lock()
            .ejected_until
            .is_none_or(|until| until <= now)
    }

    /// It answered as it should.
    pub fn succeeded(&self) {
        *self.health.lock() = Health::default();
    }

    /// It did not; `certainly`: it need not be tried again to know.
    pub fn failed(&self, certainly: bool, now: Instant) {
        let mut health = self.health.lock();
        health.failures += 1;
        if certainly || health.failures >= self.eject_after || health.ejected_until.is_some() {
            let backoff = BACKOFF.0 * 2_u32.saturating_pow(health.ejections.min(5));
            health.ejections += 1;
            health.ejected_until = Some(now + backoff.min(BACKOFF.1));
        }
    }
}

impl Pool {
    /// A pool of these engines.
    #[must_use]
    pub const fn new(engines: Vec<Arc<Engine>>) -> Self {
        Self {
            engines,
            turn: AtomicUsize::new(0),
        }
    }

    /// Its engines.
    #[must_use]
    pub fn engines(&self) -> &[Arc<Engine>] {
        &self.engines
    }

    /// The least loaded engine that is well and not among `tried`; of equals each in turn.
    #[must_use]
    pub fn pick(&self, tried: &[Arc<Engine>]) -> Option<AtWork> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let count = self.engines.len();
        let engine = (0..count)
            .map(|at| &self.engines[(at + turn) % count])
            .filter(|engine| engine.is_well() && !tried.iter().any(|t| Arc::ptr_eq(t, engine)))
            .min_by_key(|engine| engine.running.load(Ordering::Relaxed))?;
        engine.running.fetch_add(1, Ordering::Relaxed);
        Some(AtWork(engine.clone()))
    }
}

impl AtWork {
    /// The engine.
    #[must_use]
    pub const fn engine(&self) -> &Arc<Engine> {
        &self.0
    }
}

impl Drop for AtWork {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(count: usize) -> Pool {
        let engine = |n| Arc::new(Engine::new(&format!("http://e{n}/"), None, 2));
        Pool::new((0..count).map(engine).collect())
    }

    #[test]
    fn the_least_loaded_engine_is_next_and_equals_take_turns() {
        let pool = pool(3);
        let busy: Vec<_> = (0..3).map(|_| pool.pick(&[]).unwrap()).collect();
        let mut urls: Vec<_> = busy.iter().map(|b| b.engine().url.clone()).collect();
        urls.sort();
        assert_eq!(urls, ["http://e0", "http://e1", "http://e2"]);
        let free = busy[1].engine().clone();
        drop(busy.into_iter().nth(1));
        assert!(Arc::ptr_eq(pool.pick(&[]).unwrap().engine(), &free) || free.is_well());
    }

    #[test]
    fn an_engine_that_failed_is_left_out_until_it_is_well_again() {
        let pool = pool(2);
        let ill = pool.engines()[0].clone();
        let now = Instant::now();
        ill.failed(false, now);
        assert!(ill.is_well());
        ill.failed(false, now);
        assert!(!ill.is_well() && !ill.is_to_be_probed(now));
        for _ in 0..4 {
            assert!(Arc::ptr_eq(
                pool.pick(&[]).unwrap().engine(),
                &pool.engines()[1]
            ));
        }
        let later = now + BACKOFF.0;
        assert!(ill.is_to_be_probed(later));
        ill.failed(false, later);
        assert!(!ill.is_to_be_probed(later + BACKOFF.0));
        ill.succeeded();
        assert!(ill.is_well());
        assert!(pool.pick(pool.engines()).is_none());
    }
}
