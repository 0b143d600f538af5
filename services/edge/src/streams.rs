//! Streams of HTTP/2 whose client gives no room for its answer, or too little: reset after a while.
//!
//! On such a connection nothing stands still: the client takes what it is sent and answers pings,
//! and says only that a stream may not go on. hyper does not look at the body of an answer
//! meanwhile, so the task of the stream is watched: a piece that hyper took waits for room until
//! hyper asks for the next one. Other streams of the connection, maybe of other clients behind a
//! proxy, go on.
//!
//! hyper asks when there is room for the first byte of a piece; HTTP/2 keeps the others. Once it was
//! given the end of an answer, nothing can reset its stream any more: what is left of the last piece
//! would be kept for as long as the client likes. So pieces tell when they leave, and the end is
//! given when none is left. What is left of one while the next is not there yet is waited for with
//! that one: the silence is not the client's.

use std::{
    cell::Cell,
    future::poll_fn,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Buf, Bytes};
use futures::task::AtomicWaker;
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
    /// Bytes of the one that waits for room, or of all that are left before the end.
    waits: Cell<usize>,
    /// Bytes of those that found it since it was looked at last.
    taken: Cell<usize>,
    kept: Arc<Kept>,
}

/// What HTTP/2 keeps of an answer.
#[derive(Default)]
struct Kept {
    bytes: AtomicUsize,
    /// The stream, when it waits until nothing is kept.
    stream: AtomicWaker,
}

/// A piece of an answer. HTTP/2 keeps it until it leaves for the socket, or its stream is reset.
pub struct Piece {
    data: Bytes,
    kept: Option<Arc<Kept>>,
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

/// The next piece of an answer, as it is given away.
pub fn give(data: Bytes) -> Piece {
    let kept = PIECES.try_with(|pieces| {
        pieces.waits.set(data.len());
        pieces.kept.bytes.fetch_add(data.len(), Ordering::Relaxed);
        Arc::clone(&pieces.kept)
    });
    // Elsewhere nobody waits for room.
    let kept = kept.ok();
    Piece { data, kept }
}

/// Ready when nothing of an answer is kept any more, or this is no stream of HTTP/2.
pub fn poll_left(task: &mut Context<'_>) -> Poll<()> {
    let nothing_is_kept = PIECES.try_with(|pieces| {
        let kept = pieces.kept.look(task);
        let waited = pieces.waits.replace(kept);
        let taken = pieces.taken.get() + waited.saturating_sub(kept);
        pieces.taken.set(taken);
        kept == 0
    });
    if nothing_is_kept.unwrap_or(true) {
        Poll::Ready(())
    } else {
        Poll::Pending
    }
}

impl Kept {
    /// How many bytes are; the task is woken when none is any more.
    fn look(&self, task: &Context<'_>) -> usize {
        self.stream.register(task.waker());
        self.bytes.load(Ordering::Acquire)
    }

    /// So many are no more.
    fn leave(&self, bytes: usize) {
        if bytes > 0 && self.bytes.fetch_sub(bytes, Ordering::AcqRel) == bytes {
            self.stream.wake();
        }
    }
}

impl Buf for Piece {
    fn remaining(&self) -> usize {
        self.data.len()
    }

    fn chunk(&self) -> &[u8] {
        &self.data
    }

    fn advance(&mut self, bytes: usize) {
        self.data.advance(bytes);
        if let Some(kept) = &self.kept {
            kept.leave(bytes);
        }
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        if let Some(kept) = &self.kept {
            kept.leave(self.data.len());
        }
    }
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
    use std::sync::atomic::AtomicBool;

    use tokio::time::{sleep, timeout};

    use super::*;

    const MILLI: Duration = Duration::from_millis(1);

    fn hundred() -> Bytes {
        Bytes::from_static(&[0; 100])
    }

    /// Runs a stream that gives an answer, and its end; whether it came to it.
    async fn ends(answer: impl Future<Output = ()>, least: u64) -> bool {
        let least = LeastRate {
            bytes: least,
            grace: 200 * MILLI,
        };
        let ended = AtomicBool::new(false);
        let stream = async {
            answer.await;
            assert!(asked());
            poll_fn(poll_left).await;
            ended.store(true, Ordering::Relaxed);
        };
        let watched = while_it_moves(stream, Pace::takes(least, 500 * MILLI));
        let watched = PIECES.scope(Pieces::default(), watched);
        timeout(Duration::from_secs(10), watched).await.unwrap();
        ended.into_inner()
    }

    /// An answer that comes in pieces of 100 bytes, every so many milliseconds, and for whose pieces
    /// there is room after so many.
    async fn in_pieces(pieces: u32, comes: u32, room: u32) {
        for _ in 0..pieces {
            assert!(asked());
            sleep(comes * MILLI).await;
            let _piece = give(hundred());
            sleep(room * MILLI).await;
        }
    }

    #[tokio::test]
    async fn a_stream_ends_when_its_client_gives_no_room_and_not_when_there_is_nothing_to_give() {
        // A piece is worth 100 ms.
        let ends = |answer| ends(answer, 1000);
        assert!(ends(in_pieces(2, 800, 0)).await, "the answer was slow");
        assert!(
            ends(in_pieces(20, 0, 40)).await,
            "the client was fast enough"
        );
        assert!(!ends(in_pieces(20, 0, 200)).await, "a little now and then");
        assert!(!ends(in_pieces(1, 0, 5000)).await, "no room at all");
    }

    /// An answer of one piece that leaves in five steps, so many milliseconds apart, after there was
    /// room for its first byte.
    async fn last_piece(step: u32) {
        let mut piece = give(hundred());
        tokio::spawn(async move {
            while piece.has_remaining() {
                sleep(step * MILLI).await;
                piece.advance(20);
            }
        });
    }

    #[tokio::test]
    async fn the_end_of_an_answer_waits_until_all_of_it_has_left() {
        assert!(ends(last_piece(20), 1000).await);
        // Longer in all than a client may take nothing.
        assert!(ends(last_piece(200), 0).await);
        assert!(!ends(last_piece(1000), 0).await, "no room for the rest");
        let reset = async { drop(give(hundred())) };
        assert!(ends(reset, 1000).await, "nothing is kept of it");
    }

    #[tokio::test]
    async fn outside_of_streams_nobody_counts() {
        assert!(!asked());
        let piece = give(hundred());
        poll_fn(poll_left).await;
        assert_eq!(piece.remaining(), 100);
    }
}
