//! Two routers and three engines as processes, under load of conversations. A router is killed, an engine
//! is killed, the other router is restarted, the engine comes back; clients go on.

use std::{sync::Arc, time::Duration};

use anyhow::ensure;
use bytes::Bytes;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use toml::Table;

use super::{
    super::{
        Tier,
        customers::scripted,
        model_path::{Load, ModelPath, Wanted},
    },
    held_streams::HeldStreams,
    phases::{CLIENTS, Excused, Phases},
};
use crate::{journey::Journey, load::Target, stack::Stack};

/// Calls of one conversation, each longer than the one before.
const TURNS: u64 = 6;
/// What a conversation begins with, in characters: some blocks.
const BEGINNING: usize = 1600;
/// Both routers are at work by then.
const AT_WORK: Duration = Duration::from_millis(300);
/// Whoever had a connection to what was killed knows it by then, and clients are in all parts of conversations.
const NOTICED: Duration = Duration::from_secs(1);
/// A router that knows nothing yet is used: so soon engines find what they found before, but for so many points.
pub(super) const WARM: Duration = Duration::from_secs(5);
const FEW: f64 = 5.0;
/// What is found in calm, at least, in per cent: who is compared with nothing is always warm.
const CALM: f64 = 50.0;
/// What is found is looked at for so long.
const WINDOW: Duration = Duration::from_millis(500);
const LOOK: Duration = Duration::from_millis(20);
const PATIENCE: Duration = Duration::from_secs(30);

/// What was seen.
pub(super) struct Shown {
    /// Calls that failed or broke, and nothing excuses it.
    pub wrong: u64,
    /// Those that died with the router or the engine that ran them.
    pub excused: u64,
    /// After its death, until both routers had left the engine out.
    pub left_out: Duration,
    /// From a router's use again until as much was found as before, at most.
    pub warm: Duration,
    /// How often it took too long.
    pub cold: u64,
}

pub(super) async fn measure(stack: &Stack, tier: Tier) -> anyhow::Result<Shown> {
    // What others are compared with, and those.
    let [calm, long] = match tier {
        Tier::Quick => [Duration::from_secs(1), WINDOW],
        Tier::Full => [Duration::from_secs(30); 2],
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
    println!("  2 routers, 3 engines, {CLIENTS} clients in conversations of {TURNS} calls");
    let mut phases = Phases::default();

    let load = conversations(&target, "calm");
    sleep(NOTICED).await;
    let calm = found(&path, calm).await?;
    phases.end("before", Excused::Nothing, &load.end().await, calm, "");

    let held = HeldStreams::open(&path, &journey).await?;
    let load = conversations(&target, "busy");
    sleep(AT_WORK).await;
    path.routers[0].process.kill9();
    let one = found(&path, long.max(NOTICED)).await?;
    phases.end("a router is killed", Excused::Calls, &load.take(), one, "");
    let begin = Instant::now();
    path.routers[0].process.start()?;
    let note = back(&path, 0, begin).await?;
    let first = Warmth::of(&path, calm).await?;
    let warm = found(&path, long).await?;
    let (broken, streams) = held.end(0).await?;
    phases.wrong += broken;
    let note = format!("{note}{}; {streams}", first.note());
    phases.end(
        "it starts again",
        Excused::Nothing,
        &load.take(),
        warm,
        &note,
    );

    let left_out = kill_engine(&path).await?;
    let dead = found(&path, long).await?;
    let note = format!("; left out by both routers after {left_out:.2?}");
    phases.end(
        "an engine is killed",
        Excused::Streams,
        &load.take(),
        dead,
        &note,
    );

    let router = path.routers[1].process.clone();
    let begin = Instant::now();
    tokio::task::spawn_blocking(move || router.restart()).await??;
    let note = back(&path, 1, begin).await?;
    let second = Warmth::of(&path, calm).await?;
    let warm = found(&path, long).await?;
    let note = format!("{note}{}", second.note());
    phases.end(
        "a router restarts",
        Excused::Nothing,
        &load.take(),
        warm,
        &note,
    );

    let begin = Instant::now();
    path.engines[0].process.start()?;
    path.engines[0].process.wait_ready(PATIENCE).await?;
    while path.engines[0].counted().await?.calls == 0 {
        ensure!(begin.elapsed() < PATIENCE, "the engine gets no calls again");
        sleep(LOOK).await;
    }
    let note = format!("; used after {:.2?}", begin.elapsed());
    let after = found(&path, long).await?;
    phases.end(
        "the engine is back",
        Excused::Nothing,
        &load.end().await,
        after,
        &note,
    );
    Ok(Shown {
        wrong: phases.wrong,
        excused: phases.excused,
        left_out,
        warm: first.after.max(second.after),
        cold: u64::from(first.is_cold) + u64::from(second.is_cold),
    })
}

/// How what is found comes back after a router began anew.
struct Warmth {
    /// In per cent, at first.
    at_first: f64,
    /// Until it is as much as in calm, or is given up.
    after: Duration,
    is_cold: bool,
}

impl Warmth {
    async fn of(path: &ModelPath, calm: f64) -> anyhow::Result<Self> {
        ensure!(calm > CALM, "{calm:.1} % were found before");
        let begin = Instant::now();
        let at_first = found(path, WINDOW).await?;
        let mut share = at_first;
        while share + FEW < calm && begin.elapsed() < WARM {
            share = found(path, WINDOW).await?;
        }
        let warmth = Self {
            at_first,
            after: begin.elapsed(),
            is_cold: share + FEW < calm,
        };
        if warmth.is_cold {
            println!("  WRONG: {share:.1} % found after {WARM:?}, {calm:.1} % before");
        }
        Ok(warmth)
    }

    fn note(&self) -> String {
        let Self {
            at_first, after, ..
        } = self;
        format!("; {at_first:.1} % at first, warm after {after:.2?}")
    }
}

/// Clients in conversations that have this word in their names.
fn conversations(target: &Target, word: &'static str) -> Load {
    let target = target.clone();
    Load::start(
        Arc::new(move |n| Target {
            body: turn_of(word, n),
            ..target.clone()
        }),
        CLIENTS,
    )
}

/// One turn of a conversation that is the client's own.
fn turn_of(word: &str, n: u64) -> Bytes {
    let (client, call) = (n % CLIENTS as u64, n / CLIENTS as u64);
    let (conversation, turn) = (call / TURNS, call % TURNS);
    let name = format!("{word} {client}.{conversation} ");
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

/// Kills the first engine without a word; answers how long it takes until both routers leave it out.
async fn kill_engine(path: &ModelPath) -> anyhow::Result<Duration> {
    let engine = &path.engines[0];
    let mut before = Vec::new();
    for router in &path.routers {
        before.push(router.changes(engine).await?.left_out);
    }
    let begin = Instant::now();
    engine.process.kill9();
    for (router, before) in path.routers.iter().zip(before) {
        while router.changes(engine).await?.left_out <= before {
            ensure!(begin.elapsed() < PATIENCE, "a dead engine is not left out");
            sleep(LOOK).await;
        }
    }
    Ok(begin.elapsed())
}

/// Waits until a router that was away gets calls again; answers when it was ready and when it got them.
pub(super) async fn back(
    path: &ModelPath,
    router: usize,
    begin: Instant,
) -> anyhow::Result<String> {
    path.routers[router].process.wait_ready(PATIENCE).await?;
    let ready = begin.elapsed();
    while calls(path, router).await? < 1.0 {
        ensure!(begin.elapsed() < PATIENCE, "the router gets no calls again");
        sleep(LOOK).await;
    }
    let used = begin.elapsed();
    Ok(format!(
        "; ready again after {ready:.2?}, used after {used:.2?}"
    ))
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
