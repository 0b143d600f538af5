//! Calls that run on an engine together, as on a real one. It reads one prompt after the other, 8,000 tokens a
//! second of those that it does not have yet. All calls that run get a token in each step, which takes 6 ms
//! and 0.35 ms for each of them. What they hold, prompts and whole answers, is at most what there is memory
//! for: who comes next waits until others leave room, and those behind wait with it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use serde::Deserialize;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, sleep_until},
};

/// Tokens that a block of text stands for.
const BLOCK_TOKENS: u64 = 512;
/// To read a block, at 8,000 tokens a second.
const READ_BLOCK: Duration = Duration::from_millis(64);
const STEP: Duration = Duration::from_millis(6);
const STEP_OF_EACH: Duration = Duration::from_micros(350);

/// How one call runs with others.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Batched {
    /// Tokens that its answer stands for. The first of its frames is one, the others share the rest.
    pub answer: u64,
    /// So many times as fast as a real engine.
    pub faster: u32,
}

/// What runs on an engine together.
pub(super) struct Batch {
    room: Mutex<Room>,
    /// Who has it reads its prompt; when all those before it are read.
    read: tokio::sync::Mutex<Instant>,
    running: Arc<AtomicU32>,
}

/// Memory for tokens.
#[derive(Clone)]
struct Room {
    tokens: u32,
    free: Arc<Semaphore>,
}

/// A call that runs, until it is dropped.
#[derive(Debug)]
pub(super) struct Running {
    call: Batched,
    running: Arc<AtomicU32>,
    /// When its last frame was due.
    due: Instant,
    _held: Option<OwnedSemaphorePermit>,
}

impl Batch {
    /// One with memory for so many blocks.
    pub(super) fn new(blocks: usize) -> Self {
        Self {
            room: Mutex::new(Room::of(blocks)),
            read: tokio::sync::Mutex::new(Instant::now()),
            running: Arc::default(),
        }
    }

    /// There is memory for so many blocks from now on.
    pub(super) fn keep(&self, blocks: usize) {
        *self.room.lock() = Room::of(blocks);
    }

    /// Waits until a prompt of so many blocks is read, of which so many are new.
    pub(super) async fn enter(&self, call: Batched, blocks: u64, new: u64) -> Running {
        let mut from = Instant::now();
        let mut read = self.read.lock().await;
        let room = self.room.lock().clone();
        // One that is longer than all there is runs alone.
        let tokens = (blocks * BLOCK_TOKENS + call.answer).min(u64::from(room.tokens)) as u32;
        let mut held = room.free.clone().try_acquire_many_owned(tokens).ok();
        if held.is_none() {
            held = room.free.acquire_many_owned(tokens).await.ok();
            from = Instant::now();
        }
        let work = READ_BLOCK * new as u32 / call.faster.max(1);
        // Not from when this one was woken: a clock that wakes a little late each time would slow the engine.
        let due = from.max(*read) + work;
        *read = due;
        sleep_until(due).await;
        drop(read);
        self.running.fetch_add(1, Ordering::Relaxed);
        Running {
            call,
            running: self.running.clone(),
            due,
            _held: held,
        }
    }
}

impl Room {
    fn of(blocks: usize) -> Self {
        let tokens = u32::try_from(blocks as u64 * BLOCK_TOKENS).unwrap_or(u32::MAX);
        Self {
            tokens,
            free: Arc::new(Semaphore::new(tokens as usize)),
        }
    }
}

impl Running {
    /// Waits for a frame, the `index`-th of so many.
    pub(super) async fn frame(&mut self, index: usize, frames: usize) {
        let tokens = match index {
            0 => 1.0,
            _ => self.call.answer.saturating_sub(1) as f64 / (frames - 1).max(1) as f64,
        };
        let step = STEP + STEP_OF_EACH * self.running.load(Ordering::Relaxed);
        self.due += (step / self.call.faster.max(1)).mul_f64(tokens);
        sleep_until(self.due).await;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.running.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;

    const CALL: Batched = Batched {
        answer: 101,
        faster: 64,
    };

    #[tokio::test]
    async fn prompts_are_read_one_after_the_other_and_what_is_kept_is_not_read() {
        let (batch, begin) = (Batch::new(1_000), Instant::now());
        // A block takes a millisecond.
        tokio::join!(batch.enter(CALL, 50, 40), batch.enter(CALL, 50, 30));
        assert!(begin.elapsed() >= Duration::from_millis(70));
        let again = timeout(Duration::from_secs(60), batch.enter(CALL, 50, 0));
        again.await.unwrap();
    }

    #[tokio::test]
    async fn who_finds_no_room_waits_until_another_leaves() {
        let batch = Batch::new(100);
        let first = batch.enter(CALL, 60, 0).await;
        let none = timeout(Duration::from_millis(50), batch.enter(CALL, 60, 0));
        assert!(none.await.is_err());
        drop(first);
        let longer = timeout(Duration::from_secs(60), batch.enter(CALL, 500, 0));
        longer.await.unwrap();
    }

    #[tokio::test]
    async fn a_step_takes_longer_the_more_run() {
        let (batch, begin) = (Batch::new(1_000), Instant::now());
        let mut first = batch.enter(CALL, 1, 0).await;
        first.frame(0, 3).await;
        first.frame(1, 3).await;
        // 51 steps of 6.35 ms, 64 times as fast.
        assert!(begin.elapsed() >= Duration::from_millis(5));
        let mut others = Vec::new();
        for _ in 0..100 {
            others.push(batch.enter(CALL, 1, 0).await);
        }
        first.frame(2, 3).await;
        // And 50 of 41.35 ms.
        assert!(begin.elapsed() >= Duration::from_millis(37));
    }
}
