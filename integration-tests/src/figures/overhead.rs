//! What edge and inference-routing together add to a call.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::{Figure, Kind, Reading, Tier, customers::scripted};
use crate::{journey::Journey, stack::Stack};

const CONNECTIONS: [usize; 3] = [1, 16, 64];

/// The figure.
pub(super) fn figure() -> Figure {
    Figure {
        name: "overhead",
        claim: "latency that edge and inference-routing add to a call, beside calling the engine directly",
        kind: Kind::Speed,
        measure: |stack, tier| Box::pin(measure(stack, tier)),
    }
}

struct Load {
    p50: Duration,
    p99: Duration,
    a_second: f64,
}

async fn measure(stack: Stack, tier: Tier) -> anyhow::Result<Reading> {
    let calls = if tier == Tier::Quick { 300 } else { 5000 };
    let journey = Journey::ready_to_call(&stack, 100_000).await?;
    let body = scripted(json!({"tokens": 1}));
    let engine = format!("{}/v1/chat/completions", stack.simulator("engine"));
    let platform = format!("{}/v1/chat/completions", journey.api().base());
    let mut added = Duration::ZERO;
    println!("  streams  direct p50     p99  platform p50     p99  requests/s");
    for connections in CONNECTIONS {
        let direct = load(&journey, &engine, &body, connections, calls).await?;
        let through = load(&journey, &platform, &body, connections, calls).await?;
        println!(
            "  {connections:>7} {:>9.2?} {:>9.2?} {:>11.2?} {:>9.2?} {:>9.0}",
            direct.p50, direct.p99, through.p50, through.p99, through.a_second
        );
        if connections == 1 {
            added = through.p50.saturating_sub(direct.p50);
        }
    }
    println!("  the platform's figures hold two waits for the journal's group commits");
    for process in stack.processes() {
        if let Some(memory) = process.pid().and_then(resident) {
            println!("  {:<18} {memory:>6} MiB", process.spec().name);
        }
    }
    Ok(Reading {
        figure: format!("{:.2}", added.as_secs_f64() * 1000.0),
        unit: "ms added at p50, one stream, commits included".to_owned(),
        goal: "<= 25 ms on a shared machine".to_owned(),
        holds: added <= Duration::from_millis(25),
    })
}

async fn load(
    journey: &Journey,
    address: &str,
    body: &Value,
    connections: usize,
    calls: usize,
) -> anyhow::Result<Load> {
    let begin = Instant::now();
    let workers = (0..connections).map(|_| async {
        let mut times = Vec::new();
        for _ in 0..calls.div_ceil(connections) {
            let begin = Instant::now();
            let mut body = body.clone();
            body["stream"] = json!(true);
            let request = journey
                .api()
                .http()
                .post(address)
                .bearer_auth(journey.secret());
            let answer = request.json(&body).send().await?.error_for_status()?;
            answer.bytes().await?;
            times.push(begin.elapsed());
        }
        Ok::<_, reqwest::Error>(times)
    });
    let mut times = Vec::new();
    for worker in futures::future::join_all(workers).await {
        times.extend(worker?);
    }
    let elapsed = begin.elapsed();
    times.sort();
    Ok(Load {
        p50: times[times.len() / 2],
        p99: times[times.len() * 99 / 100],
        a_second: times.len() as f64 / elapsed.as_secs_f64(),
    })
}

/// Resident memory of a process, in MiB.
fn resident(pid: i32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib / 1024)
}
