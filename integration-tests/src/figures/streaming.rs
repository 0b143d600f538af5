//! What a streamed answer loses on its way: time to the first token, time between tokens, content.

use std::{sync::Arc, time::Duration};

use anyhow::ensure;
use bytes::Bytes;
use serde_json::json;
use tokio::{
    sync::Semaphore,
    time::{Instant, sleep},
};

use super::{
    Figure, Kind, Reading, Tier,
    customers::{customers, scripted},
    model_path::{Alone, ModelPath},
    overhead::commit_waits,
    rig::{self, MEASURED, Others},
};
use crate::{
    journey::{Api, Journey, read_trace},
    load::{CpuMeter, Event, Stream, Target, quantile, resident},
    stack::Stack,
};

const FIRST_GOAL: Duration = Duration::from_millis(1);
const GAP_GOAL: Duration = Duration::from_micros(500);
const TOP_UP_FEN: i64 = 100_000;
/// Processes send their spans in batches: so long after a load they are all there.
const SPANS_ARE_THERE: Duration = Duration::from_secs(6);
const ON_THE_PATH: [&str; 2] = ["edge", "inference-routing"];

/// The figure.
pub(super) fn figure() -> Figure {
    Figure {
        name: "streaming",
        claim: "what a stream loses on its way: time to first token, time between tokens, content of thousands held at once",
        kind: Kind::Speed,
        measure: |stack, tier| Box::pin(measure(stack, tier)),
    }
}

/// What some streams showed.
#[derive(Default)]
struct Seen {
    first: Vec<Duration>,
    gaps: Vec<Duration>,
    traces: Vec<String>,
}

async fn measure(stack: Stack, tier: Tier) -> anyhow::Result<Reading> {
    let (rounds, held) = match tier {
        Tier::Quick => (3, 400),
        Tier::Full => (20, 2000),
    };
    let way = Way::of(&stack, tier).await?;
    let customers = customers(&stack, 4, TOP_UP_FEN).await?;
    let [engine, platform] = way.paths(&customers[0], 60, 5)?;
    let (mut bare, mut ours) = (Seen::default(), Seen::default());
    let meter = CpuMeter::new(way.pids.to_vec());
    let mut waited = Duration::ZERO;
    for _ in 0..rounds {
        watch(&engine, 16, &mut bare).await?;
        let before = meter.waited();
        watch(&platform, 16, &mut ours).await?;
        waited += meter.waited().saturating_sub(before);
    }
    let events = ours.gaps.len() + ours.first.len();
    println!(
        "  edge and inference-routing waited {} us for a processor at each token, in the mean",
        (waited / events.max(1) as u32).as_micros()
    );
    let lost = hold(&way, &customers, held).await?;
    sleep(SPANS_ARE_THERE).await;
    let mut without = first_without_waits(&stack, &ours).await?;
    let micros = |time: Duration| time.as_micros();
    for (name, seen) in [("direct", &mut bare), ("platform", &mut ours)] {
        println!(
            "  {name:<9} first token p50 {:>6} us p99 {:>6} us; between tokens p50 {:>6} us p99 {:>6} us",
            micros(quantile(&mut seen.first, 0.5)),
            micros(quantile(&mut seen.first, 0.99)),
            micros(quantile(&mut seen.gaps, 0.5)),
            micros(quantile(&mut seen.gaps, 0.99)),
        );
    }
    let first = quantile(&mut without, 0.99).saturating_sub(quantile(&mut bare.first, 0.99));
    let gap = quantile(&mut ours.gaps, 0.99).saturating_sub(quantile(&mut bare.gaps, 0.99));
    println!(
        "  added at p99: first token {} us without the wait for the dispatch commit, between tokens {} us",
        micros(first),
        micros(gap)
    );
    Ok(Reading {
        figure: format!("{} / {}", micros(first), micros(gap)),
        unit: format!(
            "us added at p99 to the first token / between tokens, {lost} of {held} streams changed"
        ),
        goal: "<= 1000 / 500, 0".to_owned(),
        holds: first <= FIRST_GOAL && gap <= GAP_GOAL && lost == 0,
    })
}

/// The way that is measured: the stack's own, or release programs on a processor of their own.
struct Way {
    engine: String,
    platform: String,
    pids: [i32; 2],
    _alone: Option<(ModelPath, Others)>,
}

impl Way {
    async fn of(stack: &Stack, tier: Tier) -> anyhow::Result<Self> {
        let engine = stack.simulator("engine").to_owned();
        if tier == Tier::Quick {
            let pids = ON_THE_PATH.map(|name| stack.process(name).pid().unwrap_or_default());
            return Ok(Self {
                engine,
                platform: stack.description().edge.clone(),
                pids,
                _alone: None,
            });
        }
        let others = Others::of(stack)?;
        let alone = Alone {
            binaries: &rig::release()?,
            engine: &engine,
            processor: MEASURED,
        };
        let path = ModelPath::start_alone(stack, "streaming", alone).await?;
        let pids = [path.edge(), &path.routers[0]];
        let pids = pids.map(|replica| replica.process.pid().unwrap_or_default());
        Ok(Self {
            engine,
            platform: path.base(),
            pids,
            _alone: Some((path, others)),
        })
    }

    /// The same request to the engine and to the platform.
    fn paths(&self, customer: &Journey, tokens: u64, delay_ms: u64) -> anyhow::Result<[Target; 2]> {
        let mut body = scripted(json!({"tokens": tokens, "delay_ms": delay_ms}));
        body["stream"] = json!(true);
        let body = Bytes::from(body.to_string());
        let engine = format!("{}/v1/chat/completions", self.engine);
        let platform = format!("{}/v1/chat/completions", self.platform);
        Ok([
            Target::new(&engine, None, body.clone())?,
            Target::new(&platform, Some(customer.secret()), body)?,
        ])
    }

    fn memory(&self) -> [u64; 2] {
        self.pids.map(|pid| resident(pid).unwrap_or(0))
    }
}

/// Reads so many streams at once.
async fn watch(target: &Target, count: usize, seen: &mut Seen) -> anyhow::Result<()> {
    let streams: Vec<_> = (0..count)
        .map(|_| {
            let target = target.clone();
            tokio::spawn(async move {
                let stream = Stream::open(&target).await?;
                let trace_id = stream.trace_id.clone();
                anyhow::Ok((trace_id, stream.all().await?))
            })
        })
        .collect();
    for stream in streams {
        let (trace_id, events) = stream.await??;
        let arrivals: Vec<_> = tokens(&events).map(|event| event.at).collect();
        ensure!(!arrivals.is_empty(), "a stream without a token");
        seen.first.push(arrivals[0]);
        seen.traces.push(trace_id.unwrap_or_default());
        seen.gaps
            .extend(arrivals.windows(2).map(|two| two[1] - two[0]));
    }
    Ok(())
}

fn tokens(events: &[Event]) -> impl Iterator<Item = &Event> {
    events.iter().filter(|event| !event.text().is_empty())
}

/// The time to each first token less the call's own wait for its dispatch row.
async fn first_without_waits(stack: &Stack, seen: &Seen) -> anyhow::Result<Vec<Duration>> {
    let api = Api::new(&stack.description().traces.query);
    let mut times = Vec::new();
    for (first, trace_id) in seen.first.iter().zip(&seen.traces) {
        let spans = read_trace(&api, trace_id).await?;
        if let Some(waits) = commit_waits(&spans) {
            times.push(first.saturating_sub(waits.dispatch));
        }
    }
    ensure!(!times.is_empty(), "no trace of a stream was found");
    Ok(times)
}

/// Holds many streams at once; answers how many did not bring what the engine sends.
async fn hold(way: &Way, customers: &[Journey], count: usize) -> anyhow::Result<usize> {
    let [engine, _] = way.paths(&customers[0], 20, 1)?;
    let expected: String = text(&Stream::open(&engine).await?.all().await?);
    let rest = way.memory();
    let begin = Instant::now();
    // A burst of connections is no part of the claim.
    let opening = Arc::new(Semaphore::new(64));
    let streams: Vec<_> = (0..count)
        .map(|index| {
            let [_, platform] = way.paths(&customers[index % customers.len()], 20, 400)?;
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
    Ok(lost)
}

fn text(events: &[Event]) -> String {
    events.iter().map(Event::text).collect()
}
