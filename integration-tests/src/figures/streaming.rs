//! What a streamed answer loses on its way: time to the first token, time between tokens, content.

mod held;
mod way;

use std::time::Duration;

use anyhow::ensure;
use serde_json::json;
use tokio::time::sleep;

use super::{
    Figure, Kind, Reading, Tier,
    customers::{customers, passing},
    overhead::commit_waits,
};
use crate::{
    journey::{Api, Journey, read_trace},
    load::{CpuMeter, Event, Stream, Target, quantile},
    stack::Stack,
};
use held::hold;
use way::Way;

const FIRST_GOAL: Duration = Duration::from_millis(1);
const GAP_GOAL: Duration = Duration::from_micros(500);
const TOP_UP_FEN: i64 = 100_000;
/// Between the beginnings of two streams.
const APART: Duration = Duration::from_millis(20);
/// The engine alone, and gateways of others, are looked at in one round of so many.
const OTHERS_EVERY: usize = 4;
/// Streams at once of each that is measured.
const AT_ONCE: usize = 16;
/// Streams from the engine itself at the same time as those of the platform: what PostgreSQL, billing and
/// the others do meanwhile on the processor of engine and load falls on them too, and is not the path's. They
/// begin and end over the same time.
const BESIDE: usize = 4;
const BESIDE_APART: Duration = Duration::from_millis(80);

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
    /// When first tokens came.
    first: Vec<Duration>,
    /// Between tokens.
    gaps: Vec<Duration>,
    /// How long first tokens were on their way, and their requests: by the stamps of the engine, whose own
    /// unevenness is not in it.
    way: Vec<Duration>,
    /// How much longer a token was on its way than the one before it.
    longer: Vec<Duration>,
    traces: Vec<String>,
}

/// A stream that ended.
struct Streamed {
    trace_id: String,
    events: Vec<Event>,
}

impl Seen {
    fn take_in(&mut self, streams: Vec<Streamed>) -> anyhow::Result<()> {
        for Streamed { trace_id, events } in streams {
            let tokens: Vec<_> = tokens(&events).collect();
            ensure!(!tokens.is_empty(), "a stream without a token");
            self.first.push(tokens[0].at);
            self.traces.push(trace_id);
            let gaps = tokens.windows(2).map(|two| two[1].at - two[0].at);
            self.gaps.extend(gaps);
            let ways: Vec<_> = tokens.iter().filter_map(|it| it.on_the_way()).collect();
            self.way.extend(ways.first());
            let longer = ways.windows(2).map(|two| two[1].saturating_sub(two[0]));
            self.longer.extend(longer);
        }
        Ok(())
    }

    fn print(&mut self, name: &str) {
        let all = [
            &mut self.first,
            &mut self.way,
            &mut self.gaps,
            &mut self.longer,
        ];
        let [first, way, gaps, longer] =
            all.map(|times| [0.5, 0.99].map(|share| quantile(times, share).as_micros()));
        println!(
            "  {name:<22} first token p50 {:>6} us p99 {:>6} us, on its way {:>5} / {:>5} us; between tokens p50 {:>6} us p99 {:>6} us, longer on its way than the one before {:>4} / {:>4} us",
            first[0], first[1], way[0], way[1], gaps[0], gaps[1], longer[0], longer[1],
        );
    }
}

async fn measure(stack: Stack, tier: Tier) -> anyhow::Result<Reading> {
    let (rounds, tokens, held, long) = match tier {
        Tier::Quick => (2, 200, 400, Duration::from_secs(6)),
        // One call in ten is recorded, and only of those is known what they waited for.
        Tier::Full => (100, 200, 2000, Duration::from_secs(20)),
    };
    let way = Way::of(&stack, tier).await?;
    let customers = customers(&stack, 4, TOP_UP_FEN).await?;
    let script = json!({"text": passing(tokens), "delay_ms": 5, "stamped": true});
    let [engine, platform] = way.paths(&customers[0], script.clone())?;
    let others = way.others(&script).into_iter();
    let mut others: Vec<_> = others
        .map(|(name, target)| (name, target, Seen::default()))
        .collect();
    beginning(&engine, &platform).await?;
    let (mut bare, mut beside, mut ours) = (Seen::default(), Seen::default(), Seen::default());
    let meter = CpuMeter::new(way.pids.to_vec());
    let mut waited = Duration::ZERO;
    for round in 0..rounds {
        if round % OTHERS_EVERY == 0 {
            watch(&engine, AT_ONCE, APART, &mut bare).await?;
            for (_, target, seen) in &mut others {
                watch(target, AT_ONCE, APART, seen).await?;
            }
        }
        let before = meter.waited();
        let (platforms, engines) = tokio::try_join!(
            read(&platform, AT_ONCE, APART),
            read(&engine, BESIDE, BESIDE_APART),
        )?;
        waited += meter.waited().saturating_sub(before);
        ours.take_in(platforms)?;
        beside.take_in(engines)?;
    }
    let events = ours.gaps.len() + ours.first.len();
    println!(
        "  edge and inference-routing waited {} us for a processor at each token, in the mean",
        (waited / events.max(1) as u32).as_micros()
    );
    held_back(&way, &customers[0]).await?;
    let lost = hold(&way, &customers, held, long).await?;
    // No matter of speed: this fails on every machine.
    ensure!(lost == 0, "{lost} of {held} streams were lost or changed");
    // While streams were held their spans have come.
    let mut without = first_without_waits(&stack, &ours).await?;
    let micros = |time: Duration| time.as_micros();
    let named = [
        ("direct".to_owned(), &mut bare),
        ("direct, beside ours".to_owned(), &mut beside),
        ("platform".to_owned(), &mut ours),
    ];
    let of_others = others
        .iter_mut()
        .map(|(name, _, seen)| (name.clone(), seen));
    for (name, seen) in named.into_iter().chain(of_others) {
        seen.print(&name);
    }
    let [first, gap] = added(&mut without, &mut ours.longer, &mut beside);
    let [over_alone, gap_over_alone] = added(&mut without, &mut ours.longer, &mut bare);
    let [with_waits, _] = added(&mut ours.way, &mut ours.longer, &mut beside);
    println!(
        "  added at p99 to the engine's own streams at the same time: first token {} us without waits for the dispatch commit and for credit ({} us with them), between tokens {} us; to the engine alone {} and {} us",
        micros(first),
        micros(with_waits),
        micros(gap),
        micros(over_alone),
        micros(gap_over_alone)
    );
    for (name, _, seen) in &mut others {
        let [first, gap] = added(&mut seen.way, &mut seen.longer, &mut bare);
        println!(
            "  {name} adds at p99 to the engine alone: first token {} us, between tokens {} us",
            micros(first),
            micros(gap)
        );
    }
    Ok(Reading {
        figure: format!("{} / {}", micros(first), micros(gap)),
        unit: format!(
            "us added at p99 to the first token without waits for commits / between tokens, {lost} of {held} streams held at one instant changed"
        ),
        goal: "<= 1000 / 500, 0".to_owned(),
        holds: first <= FIRST_GOAL && gap <= GAP_GOAL && lost == 0,
    })
}

/// What is longer on its way at p99 than straight from the engine: first tokens, and tokens in comparison with the
/// one before, by which the time between them grows.
fn added(way: &mut [Duration], longer: &mut [Duration], engine: &mut Seen) -> [Duration; 2] {
    [(way, &mut engine.way), (longer, &mut engine.longer)]
        .map(|(ours, bare)| quantile(ours, 0.99).saturating_sub(quantile(bare, 0.99)))
}

/// The first call of an account, of which no process knows anything yet: its grant, standing, device gate,
/// limits and credit are asked for, once. Measured apart.
async fn beginning(engine: &Target, platform: &Target) -> anyhow::Result<()> {
    let (mut bare, mut ours) = (Seen::default(), Seen::default());
    watch(engine, 1, APART, &mut bare).await?;
    watch(platform, 1, APART, &mut ours).await?;
    println!(
        "  the first call of an account that no process knows: first token after {} us, from the engine {} us",
        ours.first[0].as_micros(),
        bare.first[0].as_micros()
    );
    Ok(())
}

/// What the screen holds back is measured apart: a text that again and again begins like a term, one
/// stream at a time.
async fn held_back(way: &Way, customer: &Journey) -> anyhow::Result<()> {
    let script = json!({"tokens": 180, "delay_ms": 5});
    let [engine, platform] = way.paths(customer, script)?;
    let (mut bare, mut ours) = (Seen::default(), Seen::default());
    watch(&engine, 1, APART, &mut bare).await?;
    watch(&platform, 1, APART, &mut ours).await?;
    let longest = |seen: &mut Seen| quantile(&mut seen.gaps, 1.0).as_micros();
    println!(
        "  a text that begins like a term every 18 tokens waits for the token that says that it is none: longest gap {} us, from the engine {} us",
        longest(&mut ours),
        longest(&mut bare)
    );
    Ok(())
}

/// Reads streams and looks at them when all have ended: those that still run are read by the same processor.
async fn watch(
    target: &Target,
    count: usize,
    apart: Duration,
    seen: &mut Seen,
) -> anyhow::Result<()> {
    seen.take_in(read(target, count, apart).await?)
}

/// Reads so many streams at once, begun one after the other, so far apart: what many that begin at the same instant wait
/// for each other is no part of the claim.
async fn read(target: &Target, count: usize, apart: Duration) -> anyhow::Result<Vec<Streamed>> {
    let streams: Vec<_> = (0..count)
        .map(|index| {
            let target = target.clone();
            tokio::spawn(async move {
                sleep(apart * u32::try_from(index)?).await;
                let stream = Stream::open(&target).await?;
                let trace_id = stream.trace_id.clone().unwrap_or_default();
                let events = stream.all().await?;
                anyhow::Ok(Streamed { trace_id, events })
            })
        })
        .collect();
    let ended = futures::future::join_all(streams).await;
    ended.into_iter().map(|streamed| streamed?).collect()
}

fn tokens(events: &[Event]) -> impl Iterator<Item = &Event> {
    events.iter().filter(|event| !event.text().is_empty())
}

/// How long each first token was on its way, less the call's own wait for its dispatch row and, where it had to ask
/// billing for credit, for that: both are commits.
async fn first_without_waits(stack: &Stack, seen: &Seen) -> anyhow::Result<Vec<Duration>> {
    let api = Api::new(&stack.description().traces.query);
    let (mut times, mut waited) = (Vec::new(), Vec::new());
    for (way, trace_id) in seen.way.iter().zip(&seen.traces) {
        let spans = read_trace(&api, trace_id).await?;
        if let Some(waits) = commit_waits(&spans) {
            // There only where a call had to wait for it.
            let hold = spans.iter().find(|span| span.name == "inference.hold");
            let hold = hold.map(|span| span.end_unix_nanos - span.start_unix_nanos);
            let hold = hold.map(Duration::from_nanos);
            waited.extend(hold);
            times.push(way.saturating_sub(waits.dispatch + hold.unwrap_or_default()));
        }
    }
    println!(
        "  {} of {} calls waited for credit from billing, {} us at most",
        waited.len(),
        times.len(),
        waited.iter().max().unwrap_or(&Duration::ZERO).as_micros()
    );
    ensure!(!times.is_empty(), "no trace of a stream was found");
    Ok(times)
}
