//! What comes from an engine is counted where it is read, and who waits for it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::time::timeout;

use crate::domain::stall::Progress;

/// What came from an engine, and who waits.
#[derive(Debug, Default)]
pub(super) struct Counted {
    waiting: AtomicU32,
    came: AtomicU64,
}

/// A call for which something is due, until this is dropped.
#[derive(Debug)]
struct Waiting(Arc<Counted>);

impl Counted {
    /// Waits for an answer; it counts as waiting when `grace` is over, until it comes or this is dropped.
    pub async fn waited<T>(
        self: &Arc<Self>,
        grace: Duration,
        answer: impl Future<Output = T>,
    ) -> T {
        tokio::pin!(answer);
        // Most calls are streams: they need no timer.
        if !grace.is_zero()
            && let Ok(answer) = timeout(grace, answer.as_mut()).await
        {
            return answer;
        }
        let _waiting = self.wait();
        answer.await
    }

    fn wait(self: &Arc<Self>) -> Waiting {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        Waiting(self.clone())
    }

    /// A stream's first token came, or more of it, or an answer in one piece. What comes before says
    /// nothing: an engine that hangs may still say hello, or refuse what it cannot read.
    pub fn piece(&self) {
        self.came.fetch_add(1, Ordering::Relaxed);
    }

    /// What came until now.
    pub fn progress(&self) -> Progress {
        Progress {
            waiting: self.waiting.load(Ordering::Relaxed),
            came: self.came.load(Ordering::Relaxed),
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use futures::poll;

    use super::*;

    const LONG: Duration = Duration::from_secs(3600);

    #[tokio::test]
    async fn who_waits_counts_from_the_end_of_its_grace_until_it_is_answered_or_gone() {
        let counted = Arc::new(Counted::default());
        let waiting = || counted.progress().waiting;
        let mut stream = Box::pin(counted.waited(Duration::ZERO, pending::<()>()));
        let mut early = Box::pin(counted.waited(LONG, pending::<()>()));
        assert!(poll!(stream.as_mut()).is_pending() && poll!(early.as_mut()).is_pending());
        assert_eq!(waiting(), 1, "the stream");
        drop((stream, early));
        assert_eq!(waiting(), 0, "both clients are gone");
        let mut late = Box::pin(counted.waited(Duration::from_millis(1), pending::<()>()));
        let limit = Duration::from_millis(50);
        assert!(timeout(limit, late.as_mut()).await.is_err());
        assert_eq!(waiting(), 1);
        drop(late);
        for grace in [Duration::ZERO, LONG] {
            assert_eq!(counted.waited(grace, ready(7)).await, 7);
        }
        assert_eq!(waiting(), 0, "both are answered");
    }
}
