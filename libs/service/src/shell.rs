use std::{
    fmt::Display,
    future::Future,
    panic::AssertUnwindSafe,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use futures::FutureExt;
use tokio::sync::mpsc;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// What a service's code has of its process: tasks, readiness and the end. Clones are the same.
#[derive(Clone)]
pub struct Shell {
    tasks: TaskTracker,
    draining: CancellationToken,
    stopping: CancellationToken,
    failures: mpsc::UnboundedSender<String>,
    waiting: Arc<AtomicUsize>,
}

/// Keeps the process from being ready until it is dropped.
pub struct Latch(Arc<AtomicUsize>);

impl Shell {
    pub(crate) fn new() -> (Self, mpsc::UnboundedReceiver<String>) {
        let (failures, failed) = mpsc::unbounded_channel();
        let shell = Self {
            tasks: TaskTracker::new(),
            draining: CancellationToken::new(),
            stopping: CancellationToken::new(),
            failures,
            waiting: Arc::default(),
        };
        (shell, failed)
    }

    /// Starts a task of the process. It runs until [`stopping`](Self::stopping); one that fails,
    /// panics or ends before ends the process, because a process without one of its tasks only
    /// looks alive.
    pub fn spawn<F, E>(&self, name: &'static str, task: F)
    where
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: Display + Send + 'static,
    {
        let (stopping, failures) = (self.stopping.clone(), self.failures.clone());
        self.tasks.spawn(async move {
            let why = match AssertUnwindSafe(task).catch_unwind().await {
                Ok(Ok(())) if stopping.is_cancelled() => return,
                Ok(Ok(())) => "it ended".to_owned(),
                // `{:#}` prints the whole chain of an `anyhow::Error`.
                Ok(Err(error)) => format!("{error:#}"),
                Err(_) => "it panicked".to_owned(),
            };
            // Nobody listens any more when the process is at its end already.
            let _ = failures.send(format!("{name}: {why}"));
        });
    }

    /// Like [`spawn`](Self::spawn), for a task that cannot fail.
    pub fn spawn_infallible<F>(&self, name: &'static str, task: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.spawn(name, async move {
            task.await;
            Ok::<_, std::convert::Infallible>(())
        });
    }

    /// A piece of work that has its own end; the process waits for it when it stops.
    pub fn spawn_work<F>(&self, work: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.tasks.spawn(work);
    }

    /// Keeps the process from being ready until the latch is dropped.
    #[must_use]
    pub fn latch(&self) -> Latch {
        self.waiting.fetch_add(1, Ordering::AcqRel);
        Latch(Arc::clone(&self.waiting))
    }

    /// Cancelled when the process was told to stop: it still answers, but says NOT_SERVING.
    #[must_use]
    pub fn draining(&self) -> CancellationToken {
        self.draining.clone()
    }

    /// Cancelled when tasks shall finish what they do and end.
    #[must_use]
    pub fn stopping(&self) -> CancellationToken {
        self.stopping.clone()
    }

    /// Every latch is dropped and nobody asked the process to stop.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.waiting.load(Ordering::Acquire) == 0 && !self.draining.is_cancelled()
    }

    pub(crate) fn tasks(&self) -> &TaskTracker {
        &self.tasks
    }
}

impl Drop for Latch {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}
