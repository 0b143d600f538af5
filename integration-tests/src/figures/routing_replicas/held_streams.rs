//! Streams that are held while one of the routers is killed: those that ran on it break, and no other.

use std::time::Duration;

use anyhow::ensure;
use serde_json::json;
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep},
};

use super::super::{
    customers::scripted,
    model_path::ModelPath,
    paid_streams::{End, Taken, take, target},
};
use crate::journey::Journey;

const STREAMS: u64 = 16;
/// Of each; together they last five seconds, longer than all are opened and a router killed.
const TOKENS: u64 = 50;
const TOKEN_MS: u64 = 100;
const LOOK: Duration = Duration::from_millis(20);
const PATIENCE: Duration = Duration::from_secs(30);

/// The streams, all under way.
pub(super) struct HeldStreams {
    streams: Vec<JoinHandle<Taken>>,
    /// How many each router has, by its own count.
    on: Vec<u64>,
}

impl HeldStreams {
    /// Opens them on routers that have nothing else to do.
    pub(super) async fn open(path: &ModelPath, customer: &Journey) -> anyhow::Result<Self> {
        under_way(path, 0).await?;
        let mut streams = Vec::new();
        for n in 0..STREAMS {
            let mut body = scripted(json!({"tokens": TOKENS, "delay_ms": TOKEN_MS}));
            // What begins otherwise may go to another router.
            body["messages"][0]["content"] = format!("stream {n}").into();
            let target = target(&path.base(), customer, body)?;
            streams.push(tokio::spawn(async move { take(&target, None).await }));
        }
        let on = under_way(path, STREAMS).await?;
        Ok(Self { streams, on })
    }

    /// Waits for their ends, after this router was killed; answers how many broke though nothing
    /// excuses it, and a word on all.
    pub(super) async fn end(self, killed: usize) -> anyhow::Result<(u64, String)> {
        let mut whole = 0;
        for stream in self.streams {
            let taken = stream.await?;
            whole += u64::from(taken.end == End::Whole && taken.tokens == TOKENS);
        }
        let (broken, ran) = (STREAMS - whole, self.on[killed]);
        ensure!(ran > 0, "no stream ran on the router that was killed");
        let (wrong, word) = (
            broken.abs_diff(ran),
            format!("{broken} of {STREAMS} held streams broke, {ran} ran on it"),
        );
        if wrong > 0 {
            println!("  WRONG: {word}");
        }
        Ok((wrong, word))
    }
}

/// Waits until the routers have so many calls under way together; answers how many each has.
async fn under_way(path: &ModelPath, wanted: u64) -> anyhow::Result<Vec<u64>> {
    let begin = Instant::now();
    loop {
        let mut each = Vec::new();
        for router in &path.routers {
            each.push(router.under_way().await? as u64);
        }
        if each.iter().sum::<u64>() == wanted {
            return Ok(each);
        }
        ensure!(
            begin.elapsed() < PATIENCE,
            "{wanted} calls should be under way, and {each:?} are"
        );
        sleep(LOOK).await;
    }
}
