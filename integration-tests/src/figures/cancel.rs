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

/// From the client's end to the engine's, p99.
const GOAL: Duration = Duration::from_millis(50);
/// And at worst: the same, and a machine that had something else to do for a moment.
const WORST: Duration = Duration::from_millis(150);
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

/// How soon an engine is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Told {
    p50: Duration,
    p99: Duration,
    worst: Duration,
    /// How many later than [`GOAL`].
    late: usize,
}

impl Told {
    fn of(times: &mut [Duration]) -> Self {
        let [p50, p99, worst] = [0.5, 0.99, 1.0].map(|share| quantile(times, share));
        let late = times.iter().filter(|after| **after > GOAL).count();
        Self {
            p50,
            p99,
            worst,
            late,
        }
    }

    /// Whichever of both is later.
    fn later(self, other: Self) -> Self {
        Self {
            p50: self.p50.max(other.p50),
            p99: self.p99.max(other.p99),
            worst: self.worst.max(other.worst),
            late: self.late + other.late,
        }
    }

    fn holds(&self) -> bool {
        self.p99 <= GOAL && self.worst <= WORST
    }
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
    let mut all = Told::default();
    for way in Way::ALL {
        let of_way = times.iter().filter(|(its, _)| *its == way);
        let mut of_way: Vec<Duration> = of_way.map(|(_, after)| *after).collect();
        let told = Told::of(&mut of_way);
        println!(
            "  {} left by {}: engine told after {:.1?} (p50), {:.1?} (p99), {:.1?} at worst, {} after more than {GOAL:?}",
            of_way.len(),
            way.name(),
            told.p50,
            told.p99,
            told.worst,
            told.late
        );
        all = all.later(told);
    }
    println!(
        "  {} bills are not between what was taken and what was sent",
        wrong.len()
    );
    Ok(Reading {
        figure: format!("{:.1}", all.p99.as_secs_f64() * 1000.0),
        unit: format!(
            "ms until the engine is told (p99 of the slowest of HTTP/1.1, HTTP/2 and gRPC), {:.1?} at worst, {} of {} after more than {GOAL:?}; {} wrong bills",
            all.worst,
            all.late,
            times.len(),
            wrong.len()
        ),
        goal: format!("<= 50 ms, {WORST:?} at worst, 0 wrong"),
        holds: wrong.is_empty() && all.holds(),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_of_a_thousand_that_is_told_much_too_late_is_seen() {
        let told = |worst: u64| {
            let mut times = vec![Duration::from_millis(12); 999];
            times.push(Duration::from_millis(worst));
            Told::of(&mut times)
        };
        assert!(told(50).holds() && told(50).late == 0);
        assert!(told(150).holds() && told(150).late == 1);
        assert!(!told(151).holds());
        let both = told(50).later(told(151));
        assert_eq!((both.worst, both.late), (Duration::from_millis(151), 1));
        assert!(!both.holds());
        let all_late = Told::of(&mut [Duration::from_millis(51); 100]);
        assert!(!all_late.holds());
    }
}
