//! Streams of HTTP/2 whose client gives no room for its answer, or too little: reset after a while.
//!
//! On such a connection nothing stands still: the client takes what it is sent and answers pings,
//! and says only that a stream may not go on. hyper does not look at the body of an answer
//! meanwhile, so the task of the stream is watched: a piece that hyper took waits for room until
//! hyper asks for the next one. Other streams of the connection, maybe of other clients behind a
//! proxy, go on.

use std::{
    cell::Cell,
    future::poll_fn,
    pin::pin,
    sync::Arc,
    task::{Poll, ready},
    time::Duration,
};

use hyper::rt::Executor;
use metrics::counter;
use tokio::task_local;

use crate::{
    config::Limits,
    idle::Running,
    pace::{LeastRate, Pace},
};

/// Bytes of an answer that are given to HTTP/2 at once: so much of it is kept for a client that
/// gives no room. It is also the longest frame that most clients take.
pub const PIECE: usize = 16 << 10;

/// Runs the streams of an HTTP/2 connection.
#[derive(Clone, Debug)]
pub struct Streams {
    least: LeastRate,
    stall: Duration,
    running: Arc<Running>,
}

/// What became of the pieces of an answer.
#[derive(Default)]
struct Pieces {
    /// Bytes of the one that waits for room.
    waits: Cell<usize>,
    /// Bytes of those that found it since it was looked at last.
    taken: Cell<usize>,
}

task_local! {
    static PIECES: Pieces;
}

/// The next piece of an answer is asked for: there was room for the one before. False: this is no
/// stream of HTTP/2.
pub fn asked() -> bool {
    let asked = PIECES.try_with(|pieces| {
        let taken = pieces.taken.get() + pieces.waits.take();
        pieces.taken.set(taken);
    });
    asked.is_ok()
}

/// So many bytes of an answer were given to HTTP/2.
pub fn gave(bytes: usize) {
    // Elsewhere nobody waits for room.
    let _ = PIECES.try_with(|pieces| pieces.waits.set(bytes));
}

impl Streams {
    /// Streams whose client takes its answers within these limits; they are counted.
    #[must_use]
    pub const fn new(limits: &Limits, running: Arc<Running>) -> Self {
        Self {
            least: LeastRate::of_answers(limits),
            stall: limits.stall_timeout,
            running,
        }
    }
}

impl<F> Executor<F> for Streams
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, stream: F) {
        let pace = Pace::takes(self.least, self.stall);
        let run = self.running.begin();
        tokio::spawn(async move {
            let watched = while_it_moves(stream, pace);
            PIECES.scope(Pieces::default(), watched).await;
            drop(run);
        });
    }
}

/// Runs a stream to its end, or until its client is too slow: that resets it.
async fn while_it_moves(stream: impl Future<Output = ()>, mut pace: Pace) {
    let mut stream = pin!(stream);
    let is_slow = poll_fn(|task| {
        if stream.as_mut().poll(task).is_ready() {
            return Poll::Ready(false);
        }
        let (taken, waits) = PIECES.with(|pieces| (pieces.taken.take(), pieces.waits.get()));
        if taken > 0 {
            pace.moved(taken);
        }
        if waits == 0 {
            return Poll::Pending;
        }
        ready!(pace.poll(task));
        Poll::Ready(true)
    });
    if is_slow.await {
        counter!("edge_slow_readers_total", "cut" => "stream").increment(1);
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::{sleep, timeout};

    use super::*;

    const MILLI: Duration = Duration::from_millis(1);

    /// Runs a stream whose answer comes in pieces of 100 bytes, every so many milliseconds, and for
    /// whose pieces there is room after so many; whether it came to its end.
    async fn ends(pieces: u32, comes: u32, room: u32) -> bool {
        let least = LeastRate {
            bytes: 1000,
            grace: 200 * MILLI,
        };
        let ended = std::sync::atomic::AtomicBool::new(false);
        let stream = async {
            for _ in 0..pieces {
                assert!(asked());
                sleep(comes * MILLI).await;
                gave(100);
                sleep(room * MILLI).await;
            }
            asked();
            ended.store(true, std::sync::atomic::Ordering::Relaxed);
        };
        let watched = while_it_moves(stream, Pace::takes(least, 500 * MILLI));
        let watched = PIECES.scope(Pieces::default(), watched);
        timeout(Duration::from_secs(10), watched).await.unwrap();
        ended.into_inner()
    }

    #[tokio::test]
    async fn a_stream_ends_when_its_client_gives_no_room_and_not_when_there_is_nothing_to_give() {
        // A piece is worth 100 ms.
        assert!(ends(2, 800, 0).await, "the answer was slow");
        assert!(ends(20, 0, 40).await, "the client was fast enough");
        assert!(!ends(20, 0, 200).await, "a little now and then");
        assert!(!ends(1, 0, 5000).await, "no room at all");
    }

    #[test]
    fn outside_of_streams_nobody_counts() {
        assert!(!asked());
        gave(1);
    }
}
