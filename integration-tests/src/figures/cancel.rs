//! A client goes away, by each way in which it can have come: its engine is told at once, and what it
//! was given is billed.

use std::{collections::BTreeMap, time::Duration};

use anyhow::Context;
use chrono::{DateTime, Utc};
use futures::{StreamExt, stream};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::{
    Figure, Kind, Reading, Tier,
    customers::{bills, customers, scripted, settled, truth_of},
};
use crate::{
    journey::{Journey, Way, Ways},
    load::quantile,
    stack::Stack,
};

/// From the client's end to the engine's.
const GOAL: Duration = Duration::from_millis(50);
const TOP_UP_FEN: i64 = 100_000;
const AT_ONCE: usize = 20;
/// Tokens of the answers, every one of which ends before.
const TOKENS: u64 = 400;

/// The figure.
pub(super) fn figure() -> Figure {
    Figure {
        name: "cancel",
        claim: "a client that goes away by HTTP/1.1, HTTP/2 or gRPC is felt by its engine within 50 ms, and pays for what it was given",
        kind: Kind::Correctness,
        measure: |stack, tier| Box::pin(measure(stack, tier)),
    }
}

/// A stream that its client left.
struct Left {
    way: Way,
    call_id: String,
    at: DateTime<Utc>,
    tokens: u64,
}

async fn measure(stack: Stack, tier: Tier) -> anyhow::Result<Reading> {
    let each_way = if tier == Tier::Quick { 200 } else { 1000 };
    let customers = customers(&stack, 4, TOP_UP_FEN).await?;
    let ways = Ways::open(customers[0].api().base()).await?;
    let mut body = scripted(json!({"tokens": TOKENS, "delay_ms": 20}));
    body["stream"] = json!(true);
    let left: Vec<Left> = stream::iter(0..each_way * Way::ALL.len())
        .map(|index| leave(&ways, &customers[index % customers.len()], &body, index))
        .buffer_unordered(AT_ONCE)
        .collect::<Vec<anyhow::Result<Left>>>()
        .await
        .into_iter()
        .collect::<anyhow::Result<_>>()?;
    settled(&customers, Duration::from_secs(30)).await?;
    let truth = engine(&stack, &customers[0]).await?;
    let mut billed = BTreeMap::new();
    for customer in &customers {
        billed.extend(bills(customer).await?);
    }

    let (mut times, mut wrong) = (Vec::new(), Vec::new());
    for left in &left {
        let told = &truth[left.call_id.as_str()];
        let sent = told["tokens_sent"].as_u64().unwrap_or_default();
        let ended = told["ended_at"].as_str().context("the engine goes on")?;
        let ended: DateTime<Utc> = ended.parse()?;
        let after = (ended - left.at).to_std().unwrap_or_default();
        times.push((left.way, after));
        let bill = billed.get(&left.call_id).map(Vec::as_slice);
        let right = told["ending"] == "cancelled"
            && matches!(bill, Some([bill]) if (left.tokens..=sent).contains(&bill.output));
        if !right {
            wrong.push(format!(
                "{} by {}: took {}, {bill:?}, {told}",
                left.call_id,
                left.way.name(),
                left.tokens
            ));
        }
    }
    for line in wrong.iter().take(20) {
        println!("  WRONG: {line}");
    }
    let mut slowest = Duration::ZERO;
    for way in Way::ALL {
        let of_way = times.iter().filter(|(its, _)| *its == way);
        let mut of_way: Vec<Duration> = of_way.map(|(_, after)| *after).collect();
        let [p50, p99, worst] = [0.5, 0.99, 1.0].map(|share| quantile(&mut of_way, share));
        println!(
            "  {} left by {}: engine told after {p50:.1?} (p50), {p99:.1?} (p99), {worst:.1?} at worst",
            of_way.len(),
            way.name()
        );
        slowest = slowest.max(p99);
    }
    println!(
        "  {} bills are not between what was taken and what was sent",
        wrong.len()
    );
    Ok(Reading {
        figure: format!("{:.1}", slowest.as_secs_f64() * 1000.0),
        unit: format!(
            "ms until the engine is told (p99 of the slowest of HTTP/1.1, HTTP/2 and gRPC), {} wrong bills",
            wrong.len()
        ),
        goal: "<= 50 ms, 0 wrong".to_owned(),
        holds: wrong.is_empty() && slowest <= GOAL,
    })
}

/// Takes some tokens and goes away.
async fn leave(
    ways: &Ways,
    customer: &Journey,
    body: &Value,
    index: usize,
) -> anyhow::Result<Left> {
    let way = Way::ALL[index % Way::ALL.len()];
    let mut answer = ways.ask(way, customer.secret(), body).await?;
    let call_id = answer.call_id.clone().context("the answer names no call")?;
    let (mut tokens, enough) = (0, index as u64 % 17);
    while tokens < enough {
        let event = answer.next().await?.context("the stream ended")?;
        tokens += u64::from(!event.text().is_empty());
    }
    let at = Utc::now();
    drop(answer);
    Ok(Left {
        way,
        call_id,
        at,
        tokens,
    })
}

/// The engine's record of every call, asked for until none of them runs.
async fn engine(
    stack: &Stack,
    customer: &Journey,
) -> anyhow::Result<serde_json::Map<String, Value>> {
    let begin = Instant::now();
    loop {
        let truth = truth_of(customer.api().http(), stack.simulator("engine"), "").await?;
        let calls = truth["calls"].as_object().cloned().unwrap_or_default();
        let runs = calls.values().any(|call| call["ending"] == "running");
        if !runs || begin.elapsed() > Duration::from_secs(10) {
            return Ok(calls);
        }
        sleep(Duration::from_millis(100)).await;
    }
}
