//! What edge and inference-routing together add to a call, with and without the waits for the
//! journal's commits.

mod bare;
mod rig;
mod side_by_side;
mod variations;

use std::{collections::HashMap, time::Duration};

use bytes::Bytes;
use serde_json::json;
use tokio::time::sleep;

use super::{Figure, Kind, Reading, Tier, customers::scripted};
use crate::{
    journey::{Api, Journey, read_trace},
    load::{self, CpuMeter, Load, Sample, Summary, Target, quantile, resident},
    stack::Stack,
    trace::Span,
};

/// The goal of the median that is added at one connection, without commit waits.
const GOAL: Duration = Duration::from_millis(5);
/// Processes send their spans in batches: so long after a load they are all there, where the processes are the
/// stack's ([`SPANS_EVERY`](crate::stack::SPANS_EVERY)), and where they are as deployed.
const SPANS_ARE_THERE: Duration = Duration::from_secs(2);
const SPANS_ARE_THERE_AS_DEPLOYED: Duration = Duration::from_secs(6);
/// On the path of a call.
const ON_THE_PATH: [&str; 2] = ["edge", "inference-routing"];

/// The figure.
pub(super) fn figure() -> Figure {
    Figure {
        name: "overhead",
        claim: "latency that edge and inference-routing add to a call, beside calling the engine directly",
        kind: Kind::Speed,
        measure: |stack, tier| Box::pin(measure(stack, tier)),
    }
}

/// How much is measured.
struct Extent {
    connections: &'static [usize],
    engine_delays_ms: &'static [u64],
    rounds: usize,
    calls: usize,
}

/// The quick measurement: on the tests' programs, and beside whatever else the machine does.
const QUICK: Extent = Extent {
    connections: &[1, 16, 64],
    engine_delays_ms: &[0],
    rounds: 2,
    calls: 128,
};

/// One row of the table.
struct Row {
    delay_ms: u64,
    connections: usize,
    direct: Vec<Load>,
    through: Vec<Load>,
    /// Processor time of each process on the path, over all rounds.
    cpu: [Duration; 2],
}

async fn measure(stack: Stack, tier: Tier) -> anyhow::Result<Reading> {
    if tier == Tier::Full {
        return side_by_side::measure(&stack).await;
    }
    let extent = QUICK;
    let journey = Journey::ready_to_call(&stack, 1_000_000).await?;
    let mut rows = Vec::new();
    for &delay_ms in extent.engine_delays_ms {
        for &connections in extent.connections {
            rows.push(row(&stack, &journey, &extent, delay_ms, connections).await?);
        }
    }
    sleep(SPANS_ARE_THERE).await;
    println!(
        "  times in ms; p50 and p99 of whole calls; `waits` are those for the journal's commits"
    );
    println!(
        "  engine  conns |  direct          | platform          | added           | without waits   |  calls/s  direct | us of CPU a call: edge, routing"
    );
    let mut added = Duration::MAX;
    for row in &rows {
        let without = row.print(&stack).await?;
        if row.connections == 1 && row.delay_ms == 0 {
            added = without;
        }
    }
    for process in stack.processes() {
        if let Some(memory) = process.pid().and_then(resident) {
            println!("  {:<18} {memory:>6} MiB", process.spec().name);
        }
    }
    Ok(Reading {
        figure: format!("{:.2}", millis(added)),
        unit: "ms added at p50, one connection, without commit waits".to_owned(),
        goal: format!("<= {} ms on a shared machine", GOAL.as_millis()),
        holds: added <= GOAL,
    })
}

/// Measures both ways in turn, so that what else the machine does falls on both.
async fn row(
    stack: &Stack,
    journey: &Journey,
    extent: &Extent,
    delay_ms: u64,
    connections: usize,
) -> anyhow::Result<Row> {
    let mut body = scripted(json!({"tokens": 1, "first_delay_ms": delay_ms}));
    body["stream"] = json!(true);
    let body = Bytes::from(body.to_string());
    let engine = format!("{}/v1/chat/completions", stack.simulator("engine"));
    let platform = format!("{}/v1/chat/completions", journey.api().base());
    let engine = Target::new(&engine, None, body.clone())?;
    let platform = Target::new(&platform, Some(journey.secret()), body)?;
    let meters =
        ON_THE_PATH.map(|name| CpuMeter::new(stack.process(name).pid().into_iter().collect()));
    let (mut direct, mut through) = (Vec::new(), Vec::new());
    let mut cpu = [Duration::ZERO; 2];
    for _ in 0..extent.rounds {
        direct.push(load::run(&engine, connections, extent.calls).await?);
        let before = meters.each_ref().map(CpuMeter::read);
        through.push(load::run(&platform, connections, extent.calls).await?);
        for (index, meter) in meters.iter().enumerate() {
            cpu[index] += meter.read().saturating_sub(before[index]);
        }
    }
    Ok(Row {
        delay_ms,
        connections,
        direct,
        through,
        cpu,
    })
}

impl Row {
    /// Prints it; answers what is added at the median without commit waits.
    async fn print(&self, stack: &Stack) -> anyhow::Result<Duration> {
        let (direct, through) = (Summary::of(&self.direct), Summary::of(&self.through));
        let samples = self.through.iter().flat_map(|load| &load.samples);
        let mut without = without_waits(stack, samples).await?;
        let known = without.len();
        let (p50, p99) = (quantile(&mut without, 0.5), quantile(&mut without, 0.99));
        let [edge, routing] = self
            .cpu
            .map(|cpu| cpu.as_micros() / through.count.max(1) as u128);
        println!(
            "  {:>3} ms  {:>5} | {:>7.2} {:>8.2} | {:>8.2} {:>8.2} | {:>7.2} {:>7.2} | {:>7.2} {:>7.2} | {:>8.0} {:>7.0} | {edge:>6} {routing:>6}   ({known} of {} calls by their traces)",
            self.delay_ms,
            self.connections,
            millis(direct.p50),
            millis(direct.p99),
            millis(through.p50),
            millis(through.p99),
            millis(through.p50) - millis(direct.p50),
            millis(through.p99) - millis(direct.p99),
            millis(p50) - millis(direct.p50),
            millis(p99) - millis(direct.p99),
            through.rate,
            direct.rate,
            through.count,
        );
        Ok(p50.saturating_sub(direct.p50))
    }
}

/// The time of each call less its own waits for the journal, by its trace.
async fn without_waits<'a>(
    stack: &Stack,
    samples: impl Iterator<Item = &'a Sample>,
) -> anyhow::Result<Vec<Duration>> {
    let api = Api::new(&stack.description().traces.query);
    let mut times = Vec::new();
    for sample in samples {
        let Some(trace_id) = &sample.trace_id else {
            continue;
        };
        if let Some(waits) = commit_waits(&read_trace(&api, trace_id).await?) {
            times.push(sample.whole.saturating_sub(waits.dispatch + waits.end));
        }
    }
    Ok(times)
}

/// How long a call waited for commits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CommitWaits {
    /// For its dispatch row, after the engine had begun to answer.
    pub dispatch: Duration,
    /// For its final row.
    pub end: Duration,
}

/// The waits of a call by its trace; none: the trace is not whole.
pub(super) fn commit_waits(spans: &[Span]) -> Option<CommitWaits> {
    let named: HashMap<&str, &Span> = spans
        .iter()
        .map(|span| (span.name.as_str(), span))
        .collect();
    let dispatch = named.get("inference.dispatch_commit")?;
    let first = named.get("inference.first_token")?;
    let last = named.get("inference.final_commit")?;
    let nanos = |from: u64, to: u64| Duration::from_nanos(to.saturating_sub(from));
    Some(CommitWaits {
        dispatch: nanos(first.end_unix_nanos, dispatch.end_unix_nanos),
        end: nanos(last.start_unix_nanos, last.end_unix_nanos),
    })
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(name: &str, start: u64, end: u64) -> Span {
        Span {
            trace_id: String::new(),
            span_id: String::new(),
            parent_span_id: String::new(),
            service: String::new(),
            name: name.to_owned(),
            kind: String::new(),
            start_unix_nanos: start,
            end_unix_nanos: end,
            error: false,
            attributes: Default::default(),
            events: Vec::new(),
        }
    }

    #[test]
    fn a_commit_that_the_engine_hides_is_no_wait() {
        let of = |dispatched, first| {
            commit_waits(&[
                span("inference.dispatch_commit", 0, dispatched),
                span("inference.first_token", 0, first),
                span("inference.final_commit", 100, 107),
            ])
        };
        let waits = |dispatch, end| CommitWaits {
            dispatch: Duration::from_nanos(dispatch),
            end: Duration::from_nanos(end),
        };
        assert_eq!(of(5, 20), Some(waits(0, 7)));
        assert_eq!(of(25, 20), Some(waits(5, 7)));
        assert_eq!(commit_waits(&[]), None);
    }
}
