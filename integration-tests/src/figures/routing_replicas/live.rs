//! Two routers and three engines as processes, under load of conversations. An engine is killed, a
//! router is restarted, the engine comes back; clients go on.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use toml::Table;

use super::super::{
    Tier,
    customers::scripted,
    model_path::{Counts, Load, ModelPath, Wanted},
};
use crate::{journey::Journey, load::Target, stack::Stack};

const CLIENTS: usize = 12;
/// Calls of one conversation, each longer than the one before.
const TURNS: u64 = 6;
/// What a conversation begins with, in characters: some blocks.
const BEGINNING: usize = 1600;
const LOOK: Duration = Duration::from_millis(20);
const PATIENCE: Duration = Duration::from_secs(20);

/// What was seen.
pub(super) struct Shown {
    /// Calls that failed before their first token.
    pub failed: u64,
}

pub(super) async fn measure(stack: &Stack, tier: Tier) -> anyhow::Result<Shown> {
    let long = match tier {
        Tier::Quick => Duration::from_secs(2),
        Tier::Full => Duration::from_secs(30),
    };
    let journey = Journey::ready_to_call(stack, 1_000_000).await?;
    let wanted = Wanted {
        figure: "routing-replicas",
        engines: 3,
        routers: 2,
        policy: None,
        limits: Table::new(),
    };
    let path = ModelPath::start(stack, wanted).await?;
    let address = format!("{}/v1/chat/completions", path.base());
    let target = Target::new(&address, Some(journey.secret()), Bytes::new())?;
    let load = Load::start(
        Arc::new(move |n| Target {
            body: turn_of(n),
            ..target.clone()
        }),
        CLIENTS,
    );
    println!("  2 routers, 3 engines, {CLIENTS} clients in conversations of {TURNS} calls");
    let mut failed = 0;
    let mut tell = |what: &str, counts: Counts, found: f64, note: String| {
        failed += counts.refused;
        println!(
            "  {what:<32} {:>6} calls, {} failed before a token, {} cut, longest wait {:.2?}, {found:.1} % of blocks found{note}",
            counts.calls, counts.refused, counts.cut, counts.longest
        );
        for (word, count) in &counts.words {
            println!("    {count} x {word}");
        }
    };

    let calm = found(&path, long).await?;
    tell("before", load.take(), calm, String::new());
    // Gone without a word.
    path.engines[0].process.kill9();
    let dead = found(&path, long).await?;
    tell("an engine is killed", load.take(), dead, String::new());

    let router = path.routers[1].process.clone();
    let begin = Instant::now();
    tokio::task::spawn_blocking(move || router.restart()).await??;
    path.routers[1].process.wait_ready(PATIENCE).await?;
    let ready = begin.elapsed();
    while calls(&path, 1).await? < 1.0 {
        anyhow::ensure!(begin.elapsed() < PATIENCE, "the router gets no calls again");
        sleep(LOOK).await;
    }
    let used = begin.elapsed();
    let warm = found(&path, long).await?;
    let note = format!("; ready again after {ready:.2?}, used after {used:.2?}");
    tell("a router restarts", load.take(), warm, note);

    let begin = Instant::now();
    path.engines[0].process.start()?;
    path.engines[0].process.wait_ready(PATIENCE).await?;
    while path.engines[0].counted().await?.calls == 0 {
        anyhow::ensure!(begin.elapsed() < PATIENCE, "the engine gets no calls again");
        sleep(LOOK).await;
    }
    let back = begin.elapsed();
    let after = found(&path, long).await?;
    let note = format!("; used after {back:.2?}");
    tell("the engine is back", load.take(), after, note);
    failed += load.end().await.refused;
    Ok(Shown { failed })
}

/// One turn of a conversation that is the client's own.
fn turn_of(n: u64) -> Bytes {
    let (client, call) = (n % CLIENTS as u64, n / CLIENTS as u64);
    let (conversation, turn) = (call / TURNS, call % TURNS);
    let name = format!("{client}.{conversation} ");
    let beginning = name.repeat(BEGINNING / name.len());
    let mut messages = vec![json!({"role": "user", "content": beginning})];
    for turn in 0..turn {
        let answer = format!("{turn}: {}", name.repeat(40));
        messages.push(json!({"role": "assistant", "content": answer}));
        messages.push(json!({"role": "user", "content": format!("and {turn}?")}));
    }
    let mut body = scripted(json!({"tokens": 2, "first_delay_ms": 5}));
    body["messages"] = Value::Array(messages);
    body["stream"] = json!(true);
    Bytes::from(body.to_string())
}

/// What the engines that live found of their blocks in so long.
async fn found(path: &ModelPath, long: Duration) -> anyhow::Result<f64> {
    let before = blocks(path).await;
    sleep(long).await;
    let after = blocks(path).await;
    let all = after[1].saturating_sub(before[1]).max(1);
    Ok(100.0 * after[0].saturating_sub(before[0]) as f64 / all as f64)
}

async fn blocks(path: &ModelPath) -> [u64; 2] {
    let mut sum = [0, 0];
    for engine in &path.engines {
        // One is dead.
        if let Ok(counted) = engine.counted().await {
            sum[0] += counted.blocks[0];
            sum[1] += counted.blocks[1];
        }
    }
    sum
}

/// Calls that a router has ended since it started.
async fn calls(path: &ModelPath, router: usize) -> anyhow::Result<f64> {
    let ended = path.routers[router].metric("inference_routing_calls", "", "outcome");
    Ok(ended.await?.values().sum())
}
