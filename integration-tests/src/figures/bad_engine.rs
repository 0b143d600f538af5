//! One of three engines goes wrong under load, in each of the ways in which engines do: what clients
//! see of it before their first token and after, how soon it is left out, and how soon it is trusted again.

mod bounds;

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
use bounds::Bounds;

/// Those first by which no engine is left out: what it gets with them is not what a slow start leaves it.
const ILLNESSES: [Illness; 9] = [
    Illness::NoUsage,
    Illness::TenTimesSlower,
    Illness::HalfErrors,
    Illness::EveryOtherFails,
    Illness::Refuses,
    Illness::Blackholed,
    Illness::Hangs,
    Illness::CutsStreams,
    Illness::Garbage,
];
const CLIENTS: usize = 16;
/// Per cent of calls that may fail before their first token.
const GOAL: f64 = 0.1;
/// inference-routing's `engines.stall_timeout`, as it is by default, and in the quick form, where an engine that says
/// that it is well has to show it within the time.
const STALL: Duration = Duration::from_secs(20);
const QUICK_STALL: Duration = Duration::from_millis(1500);
/// Limits of the quick form beside it: what is noticed and forgiven is the same, after a quarter of the time.
const QUICK: &str = r#"
    probe_every = "250ms"
    probe_timeout = "500ms"
    first_backoff = "250ms"
    longest_backoff = "1s"
    slow_start = "1s"
"#;
/// How long an engine that is well is waited for at most.
const PATIENCE: Duration = Duration::from_secs(60);
/// Calls after which an engine's ejections are forgotten: a breaker's 20 outcomes, and those under way.
const FORGOTTEN: u64 = 24 + CLIENTS as u64;
const LOOK: Duration = Duration::from_millis(20);

/// The figure.
pub(super) fn figure() -> Figure {
    Figure {
        name: "bad-engine",
        claim: "calls that fail before their first token while one of three engines goes wrong in 9 ways; the share of them that it gets, how soon it is left out, and trusted again",
        kind: Kind::Correctness,
        measure: |stack, tier| Box::pin(measure(stack, tier)),
    }
}

async fn measure(stack: Stack, tier: Tier) -> anyhow::Result<Reading> {
    let (mut limits, stall) = match tier {
        Tier::Quick => (QUICK.parse::<Table>()?, QUICK_STALL),
        Tier::Full => (Table::new(), STALL),
    };
    let stall_timeout = format!("{}ms", stall.as_millis());
    limits.insert("stall_timeout".to_owned(), stall_timeout.into());
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
    let (lasts, but) = match tier {
        Tier::Quick => (
            "2 s, or 4 where it is trusted meanwhile",
            " but a stall_timeout of 1.5 s, and a quarter of the time between questions and of backoffs",
        ),
        Tier::Full => ("30 s", ""),
    };
    println!("  {CLIENTS} clients, 3 engines, one ill for {lasts}; limits are the defaults{but}");
    println!(
        "  illness          calls  failed before a token  after  longest wait  share of the ill one  left out after  trusted after"
    );
    // Longer than what a busy machine adds: ten times as slow is to be that.
    let mut body = scripted(json!({"tokens": 6, "first_delay_ms": 30, "delay_ms": 10}));
    body["stream"] = json!(true);
    let target = Target::new(
        &format!("{}/v1/chat/completions", path.base()),
        Some(journey.secret()),
        Bytes::from(body.to_string()),
    )?;
    let load = Load::start(Arc::new(move |_| target.clone()), CLIENTS);
    sleep(Duration::from_secs(1)).await;
    load.take();
    let (mut worst, mut longest, mut cut) = (0.0_f64, [Duration::ZERO; 2], 0);
    let (mut slow, mut missed) = (0.0, Vec::new());
    for illness in ILLNESSES {
        let ill_for = ill_for(illness, tier);
        let bounds = Bounds::of(illness, ill_for, stall);
        let shown = one(&path, &load, illness, ill_for, &bounds).await?;
        let failed = 100.0 * shown.counts.refused as f64 / shown.counts.calls.max(1) as f64;
        worst = worst.max(failed);
        cut += shown.counts.cut;
        if illness == Illness::TenTimesSlower {
            slow = shown.share;
        }
        let times = [shown.left_out, shown.trusted].map(Option::unwrap_or_default);
        longest = [longest[0].max(times[0]), longest[1].max(times[1])];
        shown.print(illness, failed);
        let wrong = bounds.missed(&shown).into_iter();
        missed.extend(wrong.map(|wrong| format!("{illness:?}: {wrong}")));
    }
    drop(load.end().await);
    for wrong in &missed {
        println!("  WRONG: {wrong}");
    }
    Ok(Reading {
        figure: format!("{worst:.3}"),
        unit: format!(
            "% of calls failed before their first token, in the worst of 9 illnesses; of all calls {:.1} % came to the slow one; left out after {:.1?}, trusted after {:.1?} at most; {cut} streams cut",
            100.0 * slow,
            longest[0],
            longest[1]
        ),
        goal: format!("<= {GOAL} %, each illness within its bounds"),
        holds: worst <= GOAL && missed.is_empty(),
    })
}

/// How long an illness lasts at least. Of one with which the engine gets calls now and then it is counted how many,
/// in the second half: in the quick form that wants twice the time of one with which it gets none, or its usual share.
const fn ill_for(illness: Illness, tier: Tier) -> Duration {
    match (tier, illness) {
        (Tier::Full, _) => Duration::from_secs(30),
        (Tier::Quick, Illness::TenTimesSlower | Illness::HalfErrors | Illness::EveryOtherFails) => {
            Duration::from_secs(4)
        }
        (Tier::Quick, _) => Duration::from_secs(2),
    }
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

/// The illness, until its end and until the engine is used as before. Where the engine must be left out,
/// the illness lasts until it is.
async fn one(
    path: &ModelPath,
    load: &Load,
    illness: Illness,
    ill_for: Duration,
    bounds: &Bounds,
) -> anyhow::Result<Shown> {
    let (engine, router) = (&path.engines[0], &path.routers[0]);
    let before = router.changes(engine).await?;
    engine.set(illness).await?;
    let fallen = Instant::now();
    let mut left_out = None;
    let mut counts = Counts::default();
    let mut half = None;
    let lasts = |left_out: Option<Duration>| {
        let longer = bounds.left_out.filter(|_| left_out.is_none());
        fallen.elapsed() < longer.unwrap_or_default().max(ill_for)
    };
    while lasts(left_out) {
        if left_out.is_none() && router.changes(engine).await?.left_out > before.left_out {
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

    let trusted = router.changes(engine).await?.trusted;
    engine.set(Illness::None).await?;
    let healed = Instant::now();
    let mut trusted_after = None;
    let is_out = bounds.trusted.is_some() && left_out.is_some();
    while is_out && trusted_after.is_none() && healed.elapsed() < PATIENCE {
        if router.changes(engine).await?.trusted > trusted {
            trusted_after = Some(healed.elapsed());
        }
        sleep(LOOK).await;
    }
    let calls = engine.counted().await?.calls;
    while engine.counted().await?.calls < calls + FORGOTTEN {
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
