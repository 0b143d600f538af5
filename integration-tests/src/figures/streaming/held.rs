//! Thousands of streams held at one instant: nothing is lost or changed, and memory has a bound.
//!
//! A router of the stack lets 4,096 calls of a model run; as deployed it is 512 unless `chat.max_running`
//! says otherwise.

use std::{sync::Arc, time::Duration};

use anyhow::ensure;
use parking_lot::Mutex;
use serde_json::json;
use tokio::{
    sync::Semaphore,
    time::{Instant, sleep},
};

use super::way::Way;
use crate::{
    journey::Journey,
    load::{Event, Stream},
};

/// Tokens of each stream.
const TOKENS: u32 = 20;

/// What both processes may grow by together, in MiB: for each stream 96 KiB, a third of it for each connection that
/// it is on (of the client, between the two, of the engine), and for their runtimes and caches.
const fn may_grow(streams: usize) -> u64 {
    streams as u64 * 3 / 32 + 32
}

/// Holds many streams at once, each for so long, within their memory; answers how many did not bring what the
/// engine sends. By the engine's own count all were open at one instant.
pub(super) async fn hold(
    way: &Way,
    customers: &[Journey],
    count: usize,
    long: Duration,
) -> anyhow::Result<usize> {
    let script = |delay: Duration| {
        let millis = u64::try_from(delay.as_millis()).unwrap_or_default();
        json!({"tokens": TOKENS, "delay_ms": millis})
    };
    let [engine, _] = way.paths(&customers[0], script(Duration::from_millis(1)))?;
    let expected: String = text(&Stream::open(&engine).await?.all().await?);
    // The first answer is of what was before.
    way.most_at_once(&customers[0]).await?;
    let beside = way.most_at_once(&customers[0]).await?;
    let rest = way.memory();
    let begin = Instant::now();
    // A burst of connections is no part of the claim. Each is open with its first token, after a twentieth of the
    // time that it lasts: by so many at once all are before the first one ends.
    let opening = Arc::new(Semaphore::new(count.div_ceil(8)));
    let opened = Arc::new(Mutex::new(Duration::ZERO));
    let streams: Vec<_> = (0..count)
        .map(|index| {
            let [_, platform] =
                way.paths(&customers[index % customers.len()], script(long / TOKENS))?;
            let (opening, opened) = (opening.clone(), opened.clone());
            Ok(tokio::spawn(async move {
                let permit = opening.acquire().await?;
                let stream = Stream::open(&platform).await?;
                drop(permit);
                *opened.lock() = begin.elapsed();
                stream.all().await
            }))
        })
        .collect::<anyhow::Result<_>>()?;
    let (mut lost, mut peak, mut done) = (0, rest, false);
    let reading = futures::future::join_all(streams);
    tokio::pin!(reading);
    while !done {
        tokio::select! {
            answers = &mut reading => {
                for answer in answers {
                    match answer? {
                        Ok(events) if text(&events) == expected => {}
                        Ok(events) => {
                            lost += 1;
                            println!("  WRONG: {} bytes in place of {}", text(&events).len(), expected.len());
                        }
                        Err(error) => {
                            lost += 1;
                            println!("  WRONG: {error:#}");
                        }
                    }
                }
                done = true;
            }
            () = sleep(Duration::from_millis(200)) => {
                let now = way.memory();
                peak = [peak[0].max(now[0]), peak[1].max(now[1])];
            }
        }
    }
    let most = way
        .most_at_once(&customers[0])
        .await?
        .saturating_sub(beside);
    let opened = *opened.lock();
    println!(
        "  {count} held for {:.1?}, the last begun after {opened:.1?}, {most} at one instant by the engine's count: edge {} MiB (at rest {}), inference-routing {} MiB (at rest {}), {lost} lost or changed",
        begin.elapsed(),
        peak[0],
        rest[0],
        peak[1],
        rest[1],
    );
    ensure!(
        most >= count as u64,
        "only {most} of {count} streams were open at one instant: the last began after {opened:.1?}, each lasts {long:?}"
    );
    let grown = peak.iter().sum::<u64>().saturating_sub(rest.iter().sum());
    let bound = may_grow(count);
    ensure!(
        grown <= bound,
        "{count} streams took {grown} MiB, more than {bound}"
    );
    Ok(lost)
}

fn text(events: &[Event]) -> String {
    events.iter().map(Event::text).collect()
}
