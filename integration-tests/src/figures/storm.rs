//! All engines are down at once, in each of the ways in which engines are: how many attempts the router makes
//! for the calls of its clients, by the engines' own count, and how soon all is as before.

use std::{sync::Arc, time::Duration};

use anyhow::ensure;
use bytes::Bytes;
use serde_json::json;
use tokio::time::{Instant, sleep};
use toml::Table;

use super::{
    Figure, Kind, Reading, Tier,
    customers::scripted,
    model_path::{Counts, Load, ModelPath, ScriptedEngine, Wanted},
};
use crate::{journey::Journey, load::Target, simulators::engine::Illness, stack::Stack};

const ENGINES: usize = 3;
const CLIENTS: usize = 32;
/// Where each call waits as long as it may: so many that there are enough calls.
const WAITING: usize = 300;
/// How all engines are down, and how many clients call then.
const STORMS: [(Illness, usize); 4] = [
    (Illness::Refuses, CLIENTS),
    (Illness::Fails, CLIENTS),
    (Illness::Blackholed, WAITING),
    (Illness::Hangs, WAITING),
];
/// Attempts for each call.
const GOAL: f64 = 1.2;
/// In so many calls the goal holds whatever further attempts were saved up before.
const CALLS: u64 = 1_000;
/// They have come by then.
const LONGEST: Duration = Duration::from_secs(60);
/// After so long every engine answers again.
const BACK: Duration = Duration::from_secs(10);
/// The least that an engine is waited for.
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(20);

/// The figure.
pub(super) fn figure() -> Figure {
    Figure {
        name: "storm",
        claim: "attempts for each call while all engines refuse connections, answer 500, are blackholed or hang, by the engines' own count",
        kind: Kind::Correctness,
        measure: |stack, tier| Box::pin(measure(stack, tier)),
    }
}

/// How much of it a form looks at.
struct Extent {
    /// A storm, at least.
    storm: Duration,
    /// The calm before all of them, and the calls after each.
    calm: Duration,
    after: Duration,
    /// The router's `[engines]`. `first_token_timeout` is a minute by default: a storm of calls that wait would last
    /// an hour.
    limits: &'static str,
}

impl Extent {
    const fn of(tier: Tier) -> Self {
        match tier {
            Tier::Quick => Self {
                storm: Duration::from_secs(2),
                calm: Duration::from_secs(1),
                after: Duration::from_millis(500),
                limits: r#"
                    first_token_timeout = "500ms"
                    connect_timeout = "500ms"
                    probe_every = "500ms"
                    probe_timeout = "500ms"
                "#,
            },
            Tier::Full => Self {
                storm: Duration::from_secs(60),
                calm: Duration::from_secs(2),
                after: Duration::from_secs(1),
                limits: r#"first_token_timeout = "1s""#,
            },
        }
    }
}

async fn measure(stack: Stack, tier: Tier) -> anyhow::Result<Reading> {
    let extent = Extent::of(tier);
    let journey = Journey::ready_to_call(&stack, 1_000_000).await?;
    let wanted = Wanted {
        figure: "storm",
        engines: ENGINES,
        routers: 1,
        policy: None,
        limits: extent.limits.parse::<Table>()?,
    };
    let path = ModelPath::start(&stack, wanted).await?;
    let mut body = scripted(json!({"tokens": 4, "first_delay_ms": 5}));
    body["stream"] = json!(true);
    let address = format!("{}/v1/chat/completions", path.base());
    let body = Bytes::from(body.to_string());
    let target = Target::new(&address, Some(journey.secret()), body)?;
    let calm = load(&target, CLIENTS);
    sleep(extent.calm).await;
    let calm = calm.end().await;
    println!("  before: {} calls, {} failed", calm.calls, calm.refused);
    ensure!(calm.refused == 0, "calls failed before the storm");

    let (mut ratios, mut calls, mut longest, mut count) = (Vec::new(), 0, Duration::ZERO, 0);
    for (illness, clients) in STORMS {
        let storm = one(&path, &target, illness, clients, &extent).await?;
        storm.print(illness);
        for missed in storm.missed(illness) {
            println!("  WRONG: {illness:?}: {missed}");
            count += 1;
        }
        ratios.push(format!("{:.3}", storm.ratio()));
        calls += storm.counts.calls;
        longest = longest.max(storm.back);
    }
    Ok(Reading {
        figure: ratios.join(" / "),
        unit: format!(
            "attempts for each of {calls} calls while all engines refuse connections / answer 500 / are blackholed / hang; all back after {longest:.1?} at most"
        ),
        goal: format!(
            "<= {GOAL} each, and all back within {} s, as long as the storm later where they say that they are well",
            BACK.as_secs()
        ),
        holds: count == 0,
    })
}

/// Clients that call until they are ended.
fn load(target: &Target, clients: usize) -> Load {
    let target = target.clone();
    Load::start(Arc::new(move |_| target.clone()), clients)
}

/// What one storm showed.
struct Storm {
    /// What clients saw; every call has its end.
    counts: Counts,
    lasted: Duration,
    /// Calls, and connections that were refused, at the engines.
    attempts: u64,
    /// Engines that were shown as well at its end.
    shown_as_well: usize,
    /// From their health on until all answer calls, and until all are shown as well after that.
    back: Duration,
    shown_after: Duration,
    /// Calls that failed when all were back.
    failed_after: u64,
}

impl Storm {
    fn ratio(&self) -> f64 {
        self.attempts as f64 / self.counts.calls.max(1) as f64
    }

    fn print(&self, illness: Illness) {
        let counts = &self.counts;
        println!(
            "  {illness:?} for {:.1?}: {} calls, {} of them failed, {} attempts at the engines; {} engines shown as well; all answer {:.2?} after they are mended, and are shown as well {:.2?} later",
            self.lasted,
            counts.calls,
            counts.refused,
            self.attempts,
            self.shown_as_well,
            self.back,
            self.shown_after
        );
        for (word, count) in &counts.words {
            println!("    {count} x {word}");
        }
    }

    /// What was not as it must be, in words.
    fn missed(&self, illness: Illness) -> Vec<String> {
        // Who says that it is well is tried all the time, and left alone for twice as long each time.
        let says_well = matches!(illness, Illness::Fails | Illness::Hangs);
        let bound = BACK
            + if says_well {
                self.lasted
            } else {
                Duration::ZERO
            };
        let mut missed = Vec::new();
        if self.ratio() > GOAL {
            missed.push(format!("{:.3} attempts for a call", self.ratio()));
        }
        if self.counts.calls < CALLS {
            missed.push(format!("only {} calls", self.counts.calls));
        }
        if self.shown_as_well > 0 {
            missed.push("the alert NoEngineWell would be silent".to_owned());
        }
        if self.back > bound || self.shown_after > BACK {
            missed.push(format!("they are not back within {bound:?}"));
        }
        if self.failed_after > 0 {
            missed.push(format!("{} calls failed after it", self.failed_after));
        }
        missed
    }
}

/// All engines fall ill, and are mended.
async fn one(
    path: &ModelPath,
    target: &Target,
    illness: Illness,
    clients: usize,
    extent: &Extent,
) -> anyhow::Result<Storm> {
    let before = attempts(path).await?;
    for engine in &path.engines {
        engine.set(illness).await?;
    }
    let begin = Instant::now();
    let storm = load(target, clients);
    let mut counts = Counts::default();
    let enough =
        |calls: u64, lasts: Duration| lasts >= extent.storm && (calls >= CALLS || lasts >= LONGEST);
    while !enough(counts.calls, begin.elapsed()) {
        sleep(LOOK).await;
        counts.add(storm.take());
    }
    let shown_as_well = well(path).await?;
    counts.add(storm.end().await);
    let (lasted, attempts) = (begin.elapsed(), attempts(path).await? - before);

    let mut answered = Vec::new();
    for engine in &path.engines {
        engine.set(Illness::None).await?;
        answered.push(engine.counted().await?.calls);
    }
    let mended = Instant::now();
    let after = load(target, CLIENTS);
    for (engine, before) in path.engines.iter().zip(answered) {
        while engine.counted().await?.calls < before + 20 {
            let waited = mended.elapsed();
            ensure!(
                waited < PATIENCE + lasted,
                "{illness:?}: an engine gets no calls again"
            );
            sleep(LOOK).await;
        }
    }
    let back = mended.elapsed();
    let shown_after = shown_as_well_after(path).await?;
    after.take();
    sleep(extent.after).await;
    Ok(Storm {
        counts,
        lasted,
        attempts,
        shown_as_well,
        back,
        shown_after,
        failed_after: after.end().await.refused,
    })
}

/// Connections that were refused and calls that came, whether or not they were read. The router's questions
/// how engines are that refuse connections are among them.
async fn attempts(path: &ModelPath) -> anyhow::Result<u64> {
    let mut all = 0;
    for engine in &path.engines {
        let counted = engine.counted().await?;
        all += counted.calls + counted.refused_connections + counted.swallowed_calls;
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
async fn shown_as_well_after(path: &ModelPath) -> anyhow::Result<Duration> {
    let begin = Instant::now();
    while well(path).await? < path.engines.len() {
        ensure!(
            begin.elapsed() < PATIENCE,
            "the alert NoEngineWell would not end"
        );
        sleep(LOOK).await;
    }
    Ok(begin.elapsed())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn storm(calls: u64, attempts: u64, back: u64) -> Storm {
        Storm {
            counts: Counts {
                calls,
                ..Counts::default()
            },
            lasted: Duration::from_secs(5),
            attempts,
            shown_as_well: 0,
            back: Duration::from_secs(back),
            shown_after: Duration::ZERO,
            failed_after: 0,
        }
    }

    #[test]
    fn a_storm_is_judged_by_its_attempts_and_the_way_back() {
        let missed = |illness, storm: Storm| storm.missed(illness).len();
        assert_eq!(missed(Illness::Refuses, storm(1_000, 1_200, 10)), 0);
        assert_eq!(missed(Illness::Refuses, storm(1_000, 1_201, 11)), 2);
        assert_eq!(missed(Illness::Hangs, storm(1_000, 1_000, 15)), 0);
        assert_eq!(missed(Illness::Hangs, storm(999, 999, 16)), 2);
    }
}
