//! All engines are down at once: how many attempts the router makes for the calls of its clients, by
//! the engines' own count, and how soon all is as before.

use std::{sync::Arc, time::Duration};

use anyhow::ensure;
use bytes::Bytes;
use serde_json::json;
use tokio::time::{Instant, sleep};
use toml::Table;

use super::{
    Figure, Kind, Reading, Tier,
    customers::scripted,
    model_path::{Load, ModelPath, ScriptedEngine, Wanted},
};
use crate::{journey::Journey, load::Target, simulators::engine::Illness, stack::Stack};

const ENGINES: usize = 3;
const CLIENTS: usize = 32;
/// Attempts for each call.
const GOAL: f64 = 1.2;
/// After so long every engine answers again.
const BACK: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_millis(20);

/// The figure.
pub(super) fn figure() -> Figure {
    Figure {
        name: "storm",
        claim: "attempts for each call while all engines refuse connections, by the engines' own count",
        kind: Kind::Correctness,
        measure: |stack, tier| Box::pin(measure(stack, tier)),
    }
}

async fn measure(stack: Stack, tier: Tier) -> anyhow::Result<Reading> {
    let long = match tier {
        Tier::Quick => Duration::from_secs(8),
        Tier::Full => Duration::from_secs(60),
    };
    let journey = Journey::ready_to_call(&stack, 1_000_000).await?;
    let wanted = Wanted {
        figure: "storm",
        engines: ENGINES,
        routers: 1,
        policy: None,
        limits: Table::new(),
    };
    let path = ModelPath::start(&stack, wanted).await?;
    let mut body = scripted(json!({"tokens": 4, "first_delay_ms": 5}));
    body["stream"] = json!(true);
    let address = format!("{}/v1/chat/completions", path.base());
    let body = Bytes::from(body.to_string());
    let target = Target::new(&address, Some(journey.secret()), body)?;
    let load = Load::start(Arc::new(move |_| target.clone()), CLIENTS);
    sleep(Duration::from_secs(2)).await;
    let calm = load.take();

    for engine in &path.engines {
        engine.set(Illness::Refuses).await?;
    }
    let begin = Instant::now();
    let before = attempts(&path).await?;
    load.take();
    sleep(long).await;
    let storm = load.take();
    let well_in_storm = well(&path).await?;
    let attempts = attempts(&path).await? - before;
    let ratio = attempts as f64 / storm.calls.max(1) as f64;
    println!(
        "  before: {} calls in 2 s, {} failed; in {:.0?} of storm: {} calls, {} of them failed, {attempts} connections and calls at the engines (the router's questions how they are among them)",
        calm.calls,
        calm.refused,
        begin.elapsed(),
        storm.calls,
        storm.refused
    );
    for (word, count) in &storm.words {
        println!("    {count} x {word}");
    }
    let back = back_to_normal(&path, &load).await?;
    let shown_after = shown_as_well(&path).await?;
    let after = load.end().await;
    println!(
        "  all engines answer again after {back:.2?}; then {} calls, {} failed",
        after.calls, after.refused
    );
    println!(
        "  {well_in_storm} engines shown as well in the storm; all of them {shown_after:.2?} after they were used again"
    );
    ensure!(calm.refused == 0, "calls failed before the storm");
    ensure!(well_in_storm == 0, "the alert NoEngineWell would be silent");
    Ok(Reading {
        figure: format!("{ratio:.3}"),
        unit: format!("attempts for each of {} calls in a storm", storm.calls),
        goal: format!(
            "<= {GOAL}, and all engines back within {} s",
            BACK.as_secs()
        ),
        holds: ratio <= GOAL && back <= BACK && after.refused == 0,
    })
}

/// Connections that were refused and calls that came.
async fn attempts(path: &ModelPath) -> anyhow::Result<u64> {
    let mut all = 0;
    for engine in &path.engines {
        let counted = engine.counted().await?;
        all += counted.calls + counted.refused_connections;
    }
    Ok(all)
}

/// How many of the engines the router's metrics show as well, which is what the alert NoEngineWell asks.
async fn well(path: &ModelPath) -> anyhow::Result<usize> {
    let name = "inference_routing_engine_well";
    let shown = path.routers[0].metric(name, "", "engine").await?;
    let is_well = |engine: &&ScriptedEngine| shown.get(&engine.url).is_some_and(|well| *well > 0.0);
    Ok(path.engines.iter().filter(is_well).count())
}

/// Waits until every engine is shown as well; answers how long that takes.
async fn shown_as_well(path: &ModelPath) -> anyhow::Result<Duration> {
    let begin = Instant::now();
    while well(path).await? < path.engines.len() {
        ensure!(
            begin.elapsed() < BACK,
            "the alert NoEngineWell would not end"
        );
        sleep(LOOK).await;
    }
    Ok(begin.elapsed())
}

/// Heals the engines; answers how long it takes until each has answered 20 calls. Then the load
/// goes on for a second.
async fn back_to_normal(path: &ModelPath, load: &Load) -> anyhow::Result<Duration> {
    let mut before = Vec::new();
    for engine in &path.engines {
        before.push(engine.counted().await?.calls);
        engine.set(Illness::None).await?;
    }
    let healed = Instant::now();
    for (engine, before) in path.engines.iter().zip(before) {
        while engine.counted().await?.calls < before + 20 {
            ensure!(healed.elapsed() < BACK * 5, "an engine gets no calls again");
            sleep(LOOK).await;
        }
    }
    let back = healed.elapsed();
    load.take();
    sleep(Duration::from_secs(1)).await;
    Ok(back)
}
