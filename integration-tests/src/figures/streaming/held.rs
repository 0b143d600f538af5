//! Thousands of streams held at once: nothing is lost or changed, and memory has a bound.

use std::{sync::Arc, time::Duration};

use anyhow::ensure;
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

/// What both processes may grow by together, in MiB: for the connections and buffers of each stream 64 KiB, and
/// for their runtimes and caches.
const fn may_grow(streams: usize) -> u64 {
    streams as u64 / 16 + 32
}

/// Holds many streams at once, within their memory; answers how many did not bring what the engine sends.
pub(super) async fn hold(way: &Way, customers: &[Journey], count: usize) -> anyhow::Result<usize> {
    let script = |delay_ms: u64| json!({"tokens": 20, "delay_ms": delay_ms});
    let [engine, _] = way.paths(&customers[0], script(1))?;
    let expected: String = text(&Stream::open(&engine).await?.all().await?);
    let rest = way.memory();
    let begin = Instant::now();
    // A burst of connections is no part of the claim.
    let opening = Arc::new(Semaphore::new(64));
    let streams: Vec<_> = (0..count)
        .map(|index| {
            let [_, platform] = way.paths(&customers[index % customers.len()], script(400))?;
            let opening = opening.clone();
            Ok(tokio::spawn(async move {
                let permit = opening.acquire().await?;
                let stream = Stream::open(&platform).await?;
                drop(permit);
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
    println!(
        "  {count} held for {:.1?}: edge {} MiB (at rest {}), inference-routing {} MiB (at rest {}), {lost} lost or changed",
        begin.elapsed(),
        peak[0],
        rest[0],
        peak[1],
        rest[1],
    );
    let grown = peak.iter().sum::<u64>().saturating_sub(rest.iter().sum());
    let most = may_grow(count);
    ensure!(
        grown <= most,
        "{count} streams took {grown} MiB, more than {most}"
    );
    Ok(lost)
}

fn text(events: &[Event]) -> String {
    events.iter().map(Event::text).collect()
}
