//! Connections of HTTP/2 on which no stream runs: ended after a while.
//!
//! A client that answers pings is there and may want nothing for hours; it holds a place all the same. HTTP/1.1 needs
//! none of this: its next headers are waited for from the end of an answer on.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::time::{Instant, sleep};

/// The streams that run on a connection.
#[derive(Debug)]
pub struct Running {
    begun: Instant,
    count: AtomicUsize,
    /// When the last of them ended, in microseconds since `begun`.
    ended: AtomicU64,
}

/// A stream; it runs until this is dropped.
#[derive(Debug)]
pub struct Run(Arc<Running>);

impl Running {
    /// On a connection that begins.
    #[must_use]
    pub fn none() -> Arc<Self> {
        Arc::new(Self {
            begun: Instant::now(),
            count: AtomicUsize::new(0),
            ended: AtomicU64::new(0),
        })
    }

    /// One more begins.
    #[must_use]
    pub fn begin(self: &Arc<Self>) -> Run {
        self.count.fetch_add(1, Ordering::Relaxed);
        Run(Arc::clone(self))
    }

    /// Waits until none has run for so long, counted from `since` at the earliest.
    pub async fn rest(&self, since: Instant, long: Duration) {
        let mut left = long;
        loop {
            sleep(left).await;
            left = match self.rested(since) {
                Some(rested) if rested >= long => return,
                Some(rested) => long - rested,
                // However soon it ends: nothing is due before.
                None => long,
            };
        }
    }

    /// How long none has run; `None`: one does.
    fn rested(&self, since: Instant) -> Option<Duration> {
        if self.count.load(Ordering::Acquire) > 0 {
            return None;
        }
        let ended = self.begun + Duration::from_micros(self.ended.load(Ordering::Relaxed));
        Some(ended.max(since).elapsed())
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        let running = &self.0;
        let ended = u64::try_from(running.begun.elapsed().as_micros()).unwrap_or(u64::MAX);
        running.ended.store(ended, Ordering::Relaxed);
        running.count.fetch_sub(1, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;

    const MILLI: Duration = Duration::from_millis(1);

    #[tokio::test]
    async fn a_connection_rests_from_the_end_of_its_last_stream_on() {
        let running = Running::none();
        let begun = Instant::now();
        let (first, second) = (running.begin(), running.begin());
        let end = async {
            sleep(100 * MILLI).await;
            drop(first);
            sleep(150 * MILLI).await;
            drop(second);
        };
        tokio::join!(running.rest(begun, 200 * MILLI), end);
        let rested = begun.elapsed();
        assert!(rested >= 449 * MILLI, "{rested:?}");
        // It does so still, and is given as long from another time on.
        running.rest(begun, 200 * MILLI).await;
        let told = Instant::now();
        running.rest(told, 200 * MILLI).await;
        assert!(told.elapsed() >= 199 * MILLI);
    }

    #[tokio::test]
    async fn a_connection_on_which_a_stream_runs_never_rests() {
        let running = Running::none();
        let run = running.begin();
        let resting = running.rest(Instant::now(), 20 * MILLI);
        assert!(timeout(300 * MILLI, resting).await.is_err());
        drop(run);
        running.rest(Instant::now(), 20 * MILLI).await;
    }
}
