//! Five times as many calls as there is room for, at the router's places and then at the engine's: what
//! is still answered, how long those take that are accepted, what it costs in memory, and how soon all is
//! as before.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use anyhow::ensure;
use bytes::Bytes;
use futures::future::join_all;
use serde_json::json;
use tokio::time::{Instant, sleep};
use toml::Table;

use super::{
    Figure, Kind, Reading, Tier,
    customers::{customers, scripted},
    full::Full,
    model_path::{Load, ModelPath, Seen, Shot, Wanted, send_at},
};
use crate::{
    journey::Journey,
    load::{Target, quantile, resident_kib},
    stack::Stack,
};

const ACCOUNTS: usize = 4;
/// Calls that run at a time. Each takes 400 ms: 40 calls a second, which is little for the machine,
/// so that what is measured is the platform's way with too much and not the machine's.
const PLACES: u32 = 16;
/// Places of the router where the engine has no more than [`PLACES`].
const WIDER: u32 = 4 * PLACES;
const WAITING: i64 = 40;
const TOKENS: u64 = 20;
const TOKEN_MS: u64 = 20;
const CALL: Duration = Duration::from_millis(TOKENS * TOKEN_MS);
const QUEUE: Duration = Duration::from_secs(1);
/// Capacity in calls a second, and what is sent then.
const CAPACITY: f64 = 40.0;
const TIMES: f64 = 5.0;
/// Half of what there is room for.
const CALM: f64 = CAPACITY / 2.0;
/// Of the peak, in per cent.
const GOODPUT: f64 = 80.0;
/// What an accepted call may take: its wait, itself, and as much again as that for the machine.
const LONGEST: Duration = Duration::from_millis(2 * (1000 + TOKENS * TOKEN_MS));
/// What edge and router may grow by, in MiB.
const MEMORY: u64 = 64;
const BACK: Duration = Duration::from_secs(10);
const TOP_UP_FEN: i64 = 1_000_000;

/// The figure.
pub(super) fn figure() -> Figure {
    Figure {
        name: "overload",
        claim: "goodput at five times the capacity of the router's places and of the engine's, p99 of accepted calls, memory, and the way back",
        kind: Kind::Correctness,
        measure: |stack, tier| Box::pin(measure(stack, tier)),
    }
}

/// What was seen.
struct Shown {
    /// Calls a second when there are just enough.
    peak: f64,
    /// Per cent of the peak.
    share: f64,
    /// What accepted calls take, p99.
    longest: Duration,
    /// What edge and router grew by, in MiB.
    grown: u64,
    back: Duration,
    /// Those that were refused and not told when to come again, or by another word.
    untold: usize,
}

async fn measure(stack: Stack, tier: Tier) -> anyhow::Result<Reading> {
    let [of_router, of_engine] = match tier {
        Tier::Quick => [4, 3].map(Duration::from_secs),
        Tier::Full => [60, 60].map(Duration::from_secs),
    };
    let accounts = customers(&stack, ACCOUNTS, TOP_UP_FEN).await?;
    let router = phase(&stack, &accounts, Full::Router, of_router, None).await?;
    // As many places do as much, whoever has them.
    let peak = Some(router.peak);
    let engine = phase(&stack, &accounts, Full::Engine, of_engine, peak).await?;
    Ok(Reading {
        figure: format!("{:.0} / {:.0}", router.share, engine.share),
        unit: format!(
            "% of the peak at 5 times the capacity of the router's places / of the engine's; accepted p99 {:.2?} / {:.2?}, {} / {} MiB more, back after {:.1?} / {:.1?}",
            router.longest, engine.longest, router.grown, engine.grown, router.back, engine.back
        ),
        goal: format!(
            ">= {GOODPUT} %, <= {LONGEST:?}, <= {MEMORY} MiB, <= {BACK:?}, each refusal says when to come again"
        ),
        holds: router.holds() && engine.holds(),
    })
}

/// Calm, the peak where it is not known yet, so long an overload, and calm again.
async fn phase(
    stack: &Stack,
    accounts: &[Journey],
    full: Full,
    long: Duration,
    peak: Option<f64>,
) -> anyhow::Result<Shown> {
    let path = start(stack, full).await?;
    let targets = accounts
        .iter()
        .map(|account| target(&path, account))
        .collect::<anyhow::Result<Vec<_>>>()?;

    let calm = together(&targets, CALM, Duration::from_secs(1)).await;
    ensure!(
        calm.iter().all(|shot| shot.seen == Seen::Answered),
        "calls failed before the overload"
    );
    let usual = p99(&calm);
    let peak = match peak {
        Some(peak) => peak,
        None => measure_peak(&targets).await,
    };
    let before = memory(&path);

    let overload = together(&targets, CAPACITY * TIMES, long);
    let (shots, most) = watched(overload, &path).await;
    let goodput = goodput(&shots, long);
    let refusals = refusals(&shots);
    let shown = Shown {
        peak,
        share: 100.0 * goodput / peak,
        longest: p99(&shots),
        grown: most.saturating_sub(before) / 1024,
        back: back_to_normal(&targets, usual).await?,
        untold: shots.iter().filter(|shot| is_untold(shot)).count(),
    };
    println!(
        "  {PLACES} places of the {}: at peak {peak:.1} calls/s; {:.0} a second sent for {long:?}: {goodput:.1} calls/s, {} of {} answered",
        full.name(),
        CAPACITY * TIMES,
        shots.len() as u64 - refusals.values().sum::<u64>(),
        shots.len()
    );
    println!(
        "  accepted calls take {:.2?} (p99; {usual:.2?} before), edge and router grew by {} MiB, as before after {:.2?}",
        shown.longest, shown.grown, shown.back
    );
    for (word, count) in &refusals {
        println!("    {count} x {word}");
    }
    if shown.untold > 0 {
        println!(
            "  WRONG: {} of them say no time to come again",
            shown.untold
        );
    }
    Ok(shown)
}

impl Shown {
    fn holds(&self) -> bool {
        self.share >= GOODPUT
            && self.longest <= LONGEST
            && self.grown <= MEMORY
            && self.back <= BACK
            && self.untold == 0
    }
}

async fn start(stack: &Stack, full: Full) -> anyhow::Result<ModelPath> {
    let mut chat = Table::new();
    chat.insert("max_running".to_owned(), full.places(PLACES, WIDER).into());
    chat.insert("max_waiting".to_owned(), WAITING.into());
    let wait = format!("{}ms", QUEUE.as_millis());
    chat.insert("queue_timeout".to_owned(), wait.into());
    let wanted = Wanted {
        figure: "overload",
        engines: 1,
        routers: 1,
        policy: None,
        limits: Table::new(),
    };
    let sections = Table::from_iter([("chat".to_owned(), chat.into())]);
    let path = ModelPath::start_with(stack, wanted, &sections).await?;
    if full == Full::Engine {
        path.engines[0].make_room(PLACES).await?;
    }
    Ok(path)
}

fn target(path: &ModelPath, account: &Journey) -> anyhow::Result<Target> {
    let mut body = scripted(json!({"tokens": TOKENS, "delay_ms": TOKEN_MS}));
    body["stream"] = json!(true);
    body["max_tokens"] = json!(TOKENS);
    let address = format!("{}/v1/chat/completions", path.base());
    Target::new(
        &address,
        Some(account.secret()),
        Bytes::from(body.to_string()),
    )
}

/// All accounts send, so much together.
async fn together(targets: &[Target], rate: f64, long: Duration) -> Vec<Shot> {
    let each = rate / targets.len() as f64;
    let sending = targets
        .iter()
        .map(|target| send_at(target.clone(), each, long));
    join_all(sending).await.concat()
}

/// Calls a second when there are just enough: every place is always taken.
async fn measure_peak(targets: &[Target]) -> f64 {
    let targets = targets.to_vec();
    let clients = PLACES as usize + ACCOUNTS;
    let load = Load::start(
        Arc::new(move |n| targets[n as usize % targets.len()].clone()),
        clients,
    );
    sleep(CALL * 2).await;
    load.take();
    let begin = Instant::now();
    sleep(Duration::from_secs(3)).await;
    let counts = load.take();
    let rate = (counts.calls - counts.refused) as f64 / begin.elapsed().as_secs_f64();
    load.end().await;
    rate
}

/// Calls a second that were answered while calls came: none ends before it can, and what ends after the
/// last was sent is not of that time.
fn goodput(shots: &[Shot], long: Duration) -> f64 {
    let in_time = |shot: &&Shot| shot.seen == Seen::Answered && shot.sent + shot.whole <= long;
    let answered = shots.iter().filter(in_time).count();
    answered as f64 / (long - CALL).as_secs_f64()
}

/// What was done, and the most memory meanwhile.
async fn watched(sending: impl Future<Output = Vec<Shot>>, path: &ModelPath) -> (Vec<Shot>, u64) {
    tokio::pin!(sending);
    let mut most = 0;
    loop {
        tokio::select! {
            shots = &mut sending => return (shots, most),
            () = sleep(Duration::from_millis(200)) => most = most.max(memory(path)),
        }
    }
}

/// KiB of the edge and the router together.
fn memory(path: &ModelPath) -> u64 {
    let processes = [&path.edge().process, &path.routers[0].process];
    let resident = processes.map(|process| process.pid().and_then(resident_kib).unwrap_or(0));
    resident.iter().sum()
}

/// How long after the overload calls are answered as before it.
async fn back_to_normal(targets: &[Target], usual: Duration) -> anyhow::Result<Duration> {
    let begin = Instant::now();
    loop {
        let since = begin.elapsed();
        ensure!(since <= 3 * BACK, "it is not as before after {since:?}");
        let shots = together(targets, CALM, Duration::from_secs(1)).await;
        let well = shots.iter().all(|shot| shot.seen == Seen::Answered);
        if well && p99(&shots) <= usual * 2 {
            return Ok(since);
        }
    }
}

fn p99(shots: &[Shot]) -> Duration {
    let answered = shots.iter().filter(|shot| shot.seen == Seen::Answered);
    let mut whole: Vec<_> = answered.map(|shot| shot.whole).collect();
    quantile(&mut whole, 0.99)
}

/// Refused as one of too many, a call is told when there may be room.
fn is_untold(shot: &Shot) -> bool {
    match &shot.seen {
        Seen::Answered => false,
        Seen::Cut | Seen::Hidden { .. } => true,
        Seen::Refused(word) => word != "rate_limit_exceeded" || shot.come_again.is_none(),
    }
}

fn refusals(shots: &[Shot]) -> BTreeMap<String, u64> {
    let mut words = BTreeMap::new();
    for shot in shots {
        if shot.seen != Seen::Answered {
            *words.entry(shot.seen.word().to_owned()).or_default() += 1;
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_without_a_time_is_no_word_to_come_again() {
        let shot = |seen: Seen, come_again| Shot {
            seen,
            sent: Duration::ZERO,
            first: Duration::ZERO,
            at_engine: None,
            come_again,
            whole: Duration::ZERO,
        };
        let refused = |word: &str, seconds: Option<u64>| {
            let refused = Seen::Refused(word.to_owned());
            is_untold(&shot(refused, seconds.map(Duration::from_secs)))
        };
        assert!(!refused("rate_limit_exceeded", Some(1)));
        assert!(refused("rate_limit_exceeded", None));
        assert!(refused("engine_failed", Some(1)));
        assert!(is_untold(&shot(Seen::Cut, None)));
        let hidden = Seen::Hidden { after_token: false };
        assert!(is_untold(&shot(hidden, None)));
        assert!(!is_untold(&shot(Seen::Answered, None)));
    }
}
