//! The model path beside gateways of others, in one run: each alone on one processor, the engine, the
//! load, PostgreSQL, billing and everything else on the other.
//!
//! `bare` is our own two hops without any of the work: the same HTTP server, the same gRPC over mutual
//! TLS, the same HTTP client to the engine, and nothing that is checked, held, placed, written or
//! metered (`simulators/bare.rs`). `governed` is the product as it is deployed: key, standing, limits,
//! screen, lease, placement among two engines, journal, meter, label, and a trace of one call in ten.

use std::time::Duration;

use super::{
    super::Reading,
    SPANS_ARE_THERE_AS_DEPLOYED, commit_waits,
    rig::{Contender, Rig, round_robin},
    variations,
};
use crate::{
    journey::{Api, read_trace},
    load::{Lean, quantile},
    stack::Stack,
};

const CONNECTIONS: [usize; 4] = [1, 16, 64, 256];
const DELAYS_MS: [u64; 2] = [0, 20];
/// A reading is thrown away that the rig can offer less than so many times.
const CEILING: f64 = 3.0;
/// So many times the rig must offer for throughput to be compared; else processor time is.
const OFFERS: f64 = 1.5;
/// Both processes together, at rest.
const REST_KIB: u64 = 60 * 1024;

/// What one showed with so many connections.
pub(super) struct Shown {
    pub rounds: Vec<Lean>,
    pub cpu: Duration,
    /// Why it is left out: gateways of others may fail under a load that others bear.
    pub broken: Option<String>,
}

pub(super) async fn measure(stack: &Stack) -> anyhow::Result<Reading> {
    let rig = Rig::start(stack).await?;
    let mut goals = Goals {
        rest_kib: rig.resident(),
        ..Goals::default()
    };
    println!(
        "  memory at rest, before the first call: {} MiB edge and inference-routing together",
        goals.rest_kib / 1024
    );
    for delay_ms in DELAYS_MS {
        for connections in CONNECTIONS {
            let shown = round_robin(&rig.contenders, delay_ms, connections).await?;
            print(stack, &rig, delay_ms, connections, &shown, &mut goals).await?;
        }
    }
    goals.loaded_kib = rig.resident();
    variations::measure(stack, &rig).await?;
    Ok(goals.reading())
}

impl Shown {
    pub const fn nothing() -> Self {
        Self {
            rounds: Vec::new(),
            cpu: Duration::ZERO,
            broken: None,
        }
    }

    /// Calls that were counted.
    pub fn calls(&self) -> usize {
        self.rounds.iter().map(|round| round.times.len()).sum()
    }

    fn quantile(&self, share: f64) -> Duration {
        let mut times: Vec<_> = self.rounds.iter().flat_map(|r| r.times.clone()).collect();
        quantile(&mut times, share)
    }

    /// The least, the median and the most of the rounds' own medians.
    fn medians(&self) -> [Duration; 3] {
        let rounds = self.rounds.iter();
        let mut medians: Vec<_> = rounds
            .map(|r| quantile(&mut r.times.clone(), 0.5))
            .collect();
        [0.0, 0.5, 1.0].map(|share| quantile(&mut medians, share))
    }

    /// The median of the rounds.
    fn rate(&self) -> f64 {
        let mut rates: Vec<_> = self.rounds.iter().map(Lean::rate).collect();
        rates.sort_by(f64::total_cmp);
        rates.get(rates.len() / 2).copied().unwrap_or_default()
    }

    fn cpu_micros(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / self.calls().max(1) as f64
    }
}

/// What the goals look at.
#[derive(Default)]
struct Goals {
    governed_p50: Option<Duration>,
    sglang_p50: Option<Duration>,
    /// Of throughput at 64, by processor time or by the rate.
    ratio: Option<f64>,
    governance: Option<f64>,
    /// Before the first call.
    rest_kib: u64,
    /// After the last one, which is no goal's.
    loaded_kib: u64,
}

async fn print(
    stack: &Stack,
    rig: &Rig,
    delay_ms: u64,
    connections: usize,
    shown: &[Shown],
    goals: &mut Goals,
) -> anyhow::Result<()> {
    let engine = &shown[0];
    print_lines(delay_ms, connections, &rig.contenders, shown);
    let of = |name: &str| {
        let place = rig
            .contenders
            .iter()
            .position(|c| c.name.starts_with(name))?;
        Some(&shown[place]).filter(|shown| shown.broken.is_none())
    };
    let (Some(governed), Some(bare)) = (of("governed"), of("bare")) else {
        return Ok(());
    };
    let waits = waits(stack, governed).await?;
    let without = governed.quantile(0.5).saturating_sub(waits);
    println!(
        "  {:<22} {:>6} {:>9.0}   ({:.0} us of waits for commits at the median)",
        "governed, no waits",
        governed.rounds.len(),
        micros(without) - micros(engine.quantile(0.5)),
        micros(waits),
    );
    if delay_ms == 0 && connections == 1 {
        goals.governed_p50 = Some(without);
        goals.sglang_p50 = of("sglang-router").map(|sglang| sglang.quantile(0.5));
    }
    if delay_ms == 0 && connections == 64 {
        goals.governance = Some(governed.cpu_micros() / bare.cpu_micros() - 1.0);
        if let Some(sglang) = of("sglang-router") {
            let by_rate = engine.rate() >= OFFERS * governed.rate().max(sglang.rate());
            let by_time = sglang.cpu_micros() / governed.cpu_micros();
            goals.ratio = Some(match by_rate {
                true => governed.rate() / sglang.rate(),
                false => by_time,
            });
            println!(
                "  by processor time one core serves {by_time:.2} times sglang-router's calls"
            );
        }
    }
    Ok(())
}

/// A line for each, beside the engine that was asked the same prompt.
pub(super) fn print_lines(
    delay_ms: u64,
    connections: usize,
    contenders: &[Contender],
    shown: &[Shown],
) {
    println!("\n  engine {delay_ms} ms, {connections} connections, in turn, microseconds");
    let names = contenders.iter().map(|contender| contender.name.len());
    let wide = names.fold(22, usize::max);
    println!(
        "  {:<wide$} {:>6} {:>9} {:>9} {:>19} {:>10} {:>12}  ceiling",
        "", "rounds", "added p50", "added p99", "p50 (least..most)", "calls/s", "CPU a call"
    );
    for (contender, seen) in contenders.iter().zip(shown) {
        if let Some(broken) = &seen.broken {
            println!("  {:<wide$} left out: {broken}", contender.name);
            continue;
        }
        let is_its_engine =
            |it: &Contender| it.processes.is_empty() && it.prompt == contender.prompt;
        let engine = contenders.iter().position(is_its_engine).unwrap_or(0);
        let engine = &shown[engine];
        let [least, p50, most] = seen.medians().map(|time| time.as_micros());
        let added = |share| micros(seen.quantile(share)) - micros(engine.quantile(share));
        let offers = engine.rate() / seen.rate().max(1.0);
        let note = match offers {
            _ if contender.processes.is_empty() => "",
            offers if offers < CEILING => "rate thrown away",
            _ => "",
        };
        println!(
            "  {:<wide$} {:>6} {:>9.0} {:>9.0} {:>7} ({least}..{most}) {:>10.0} {:>9.0} us  {offers:.1}x {note}",
            contender.name,
            seen.rounds.len(),
            added(0.5),
            added(0.99),
            p50,
            seen.rate(),
            seen.cpu_micros(),
        );
    }
}

/// The median wait for commits of the calls that can be looked up.
async fn waits(stack: &Stack, governed: &Shown) -> anyhow::Result<Duration> {
    tokio::time::sleep(SPANS_ARE_THERE_AS_DEPLOYED).await;
    let api = Api::new(&stack.description().traces.query);
    let mut waits = Vec::new();
    let traced = governed
        .rounds
        .iter()
        .flat_map(|round| round.traced.iter().take(400));
    for (trace_id, _) in traced {
        // One in ten is recorded.
        if let Some(wait) = commit_waits(&read_trace(&api, trace_id).await?) {
            waits.push(wait.dispatch + wait.end);
        }
    }
    Ok(quantile(&mut waits, 0.5))
}

impl Goals {
    fn reading(&self) -> Reading {
        let p50 = self.governed_p50.unwrap_or(Duration::MAX);
        let faster = self.sglang_p50.is_some_and(|sglang| p50 <= sglang);
        let ratio = self.ratio.unwrap_or_default();
        let governance = 100.0 * self.governance.unwrap_or(f64::INFINITY);
        Reading {
            figure: format!("{ratio:.2}"),
            unit: format!(
                "times sglang-router's calls a core at 64; p50 at 1 {} us without waits (sglang-router {} us); governance +{governance:.0} % of bare; {} MiB at rest ({} after all load)",
                p50.as_micros(),
                self.sglang_p50.unwrap_or_default().as_micros(),
                self.rest_kib / 1024,
                self.loaded_kib / 1024,
            ),
            goal: ">= 2, at most sglang-router's, <= 15 %, <= 60 MiB".to_owned(),
            holds: ratio >= 2.0 && faster && governance <= 15.0 && self.rest_kib <= REST_KIB,
        }
    }
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}
