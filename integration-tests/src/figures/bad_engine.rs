//! One of three engines goes wrong under load, in each of the ways in which engines do: what clients
//! see of it before their first token, how soon it is left out, and how soon it is trusted again.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use serde_json::json;
use tokio::time::{Instant, sleep};
use toml::Table;

use super::{
    Figure, Kind, Reading, Tier,
    customers::scripted,
    model_path::{Counts, Load, ModelPath, Wanted},
};
use crate::{journey::Journey, load::Target, simulators::engine::Illness, stack::Stack};

const ILLNESSES: [Illness; 8] = [
    Illness::Refuses,
    Illness::Blackholed,
    Illness::Hangs,
    Illness::TenTimesSlower,
    Illness::HalfErrors,
    Illness::CutsStreams,
    Illness::Garbage,
    Illness::NoUsage,
];
const CLIENTS: usize = 16;
/// Per cent of calls that may fail before their first token.
const GOAL: f64 = 0.1;
/// What it takes at most to trust an engine that is well.
const PATIENCE: Duration = Duration::from_secs(40);
const LOOK: Duration = Duration::from_millis(20);

/// The figure.
pub(super) fn figure() -> Figure {
    Figure {
        name: "bad-engine",
        claim: "calls that fail before their first token while one of three engines goes wrong in 8 ways",
        kind: Kind::Correctness,
        measure: |stack, tier| Box::pin(measure(stack, tier)),
    }
}

async fn measure(stack: Stack, tier: Tier) -> anyhow::Result<Reading> {
    let mut limits = Table::new();
    let ill_for = match tier {
        // One that says that it is well has to show it within the time.
        Tier::Quick => {
            limits.insert("stall_timeout".to_owned(), "1500ms".into());
            Duration::from_secs(5)
        }
        Tier::Full => Duration::from_secs(30),
    };
    let journey = Journey::ready_to_call(&stack, 1_000_000).await?;
    let path = ModelPath::start(
        &stack,
        Wanted {
            figure: "bad-engine",
            engines: 3,
            routers: 1,
            policy: None,
            limits,
        },
    )
    .await?;
    let but = match tier {
        Tier::Quick => " but a stall_timeout of 1.5 s",
        Tier::Full => "",
    };
    println!(
        "  {CLIENTS} clients, 3 engines, one ill for {ill_for:?}; limits are the defaults{but}"
    );
    println!(
        "  illness          calls  failed before a token  after  longest wait  share of the ill one  left out after  trusted after"
    );
    let mut body = scripted(json!({"tokens": 6, "first_delay_ms": 10, "delay_ms": 3}));
    body["stream"] = json!(true);
    let target = Target::new(
        &format!("{}/v1/chat/completions", path.base()),
        Some(journey.secret()),
        Bytes::from(body.to_string()),
    )?;
    let load = Load::start(Arc::new(move |_| target.clone()), CLIENTS);
    sleep(Duration::from_secs(1)).await;
    load.take();
    let mut worst: f64 = 0.0;
    for illness in ILLNESSES {
        let shown = one(&path, &load, illness, ill_for).await?;
        let failed = 100.0 * shown.counts.refused as f64 / shown.counts.calls.max(1) as f64;
        worst = worst.max(failed);
        shown.print(illness, failed);
    }
    drop(load.end().await);
    Ok(Reading {
        figure: format!("{worst:.3}"),
        unit: "% of calls failed before their first token, in the worst of 8 illnesses".to_owned(),
        goal: format!("<= {GOAL} %"),
        holds: worst <= GOAL,
    })
}

/// What one illness did.
struct Shown {
    counts: Counts,
    /// Of the calls in the second half of the illness, those that came to the ill engine.
    share: f64,
    left_out: Option<Duration>,
    trusted: Option<Duration>,
}

impl Shown {
    fn print(&self, illness: Illness, failed: f64) {
        let time = |time: Option<Duration>| {
            time.map_or_else(|| "-".to_owned(), |time| format!("{time:.2?}"))
        };
        let counts = &self.counts;
        println!(
            "  {:<15} {:>6} {:>6} ({failed:>6.3} %)       {:>6}  {:>12.2?}  {:>18.1} %  {:>14}  {:>13}",
            format!("{illness:?}"),
            counts.calls,
            counts.refused,
            counts.cut,
            counts.longest,
            100.0 * self.share,
            time(self.left_out),
            time(self.trusted),
        );
        for (word, count) in &counts.words {
            println!("    {count} x {word}");
        }
    }
}

/// The illness, until its end and until the engine is used as before.
async fn one(
    path: &ModelPath,
    load: &Load,
    illness: Illness,
    ill_for: Duration,
) -> anyhow::Result<Shown> {
    let engine = &path.engines[0];
    let before = changes(path).await?;
    engine.set(illness).await?;
    let fallen = Instant::now();
    let mut left_out = None;
    let mut counts = Counts::default();
    let mut half = None;
    while fallen.elapsed() < ill_for {
        if left_out.is_none() && changes(path).await?.left_out > before.left_out {
            left_out = Some(fallen.elapsed());
        }
        if half.is_none() && fallen.elapsed() * 2 > ill_for {
            counts.add(load.take());
            half = Some(engine.counted().await?);
        }
        sleep(LOOK).await;
    }
    let late = load.take();
    let came = engine.counted().await?.calls - half.map_or(0, |half| half.calls);
    let share = came as f64 / late.calls.max(1) as f64;
    counts.add(late);

    let trusted = changes(path).await?.trusted;
    engine.set(Illness::None).await?;
    let healed = Instant::now();
    let mut trusted_after = None;
    while left_out.is_some() && trusted_after.is_none() && healed.elapsed() < PATIENCE {
        if changes(path).await?.trusted > trusted {
            trusted_after = Some(healed.elapsed());
        }
        sleep(LOOK).await;
    }
    // Until it has done enough for what was to be forgotten.
    let calls = engine.counted().await?.calls;
    while engine.counted().await?.calls < calls + 30 {
        anyhow::ensure!(
            healed.elapsed() < PATIENCE,
            "{illness:?}: it is not used again"
        );
        sleep(LOOK).await;
    }
    counts.add(load.take());
    Ok(Shown {
        counts,
        share,
        left_out,
        trusted: trusted_after,
    })
}

/// How often the router changed its mind about the first engine.
#[derive(Clone, Copy, PartialEq)]
struct Changes {
    left_out: f64,
    trusted: f64,
}

async fn changes(path: &ModelPath) -> anyhow::Result<Changes> {
    let name = "inference_routing_engine_changes";
    let engine = format!("engine=\"{}\"", path.engines[0].url);
    let by = path.routers[0].metric(name, &engine, "to").await?;
    let of = |to: &str| by.get(to).copied().unwrap_or_default();
    Ok(Changes {
        left_out: of("ejected"),
        trusted: of("trusted"),
    })
}
