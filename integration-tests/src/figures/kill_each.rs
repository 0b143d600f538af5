//! Any process dies during paid calls; after it is back everything is billed once and exactly.

use std::time::Duration;

use serde_json::json;
use sqlx::postgres::PgPoolOptions;
use tokio::time::{Instant, sleep};

use super::{
    Figure, Kind, Reading, Tier,
    customers::{bills, customers, engine_truth, outcomes, scripted, settled},
};
use crate::{
    journey::{Journey, ledger_sum},
    stack::Stack,
};

/// Each in turn.
const VICTIMS: [&str; 9] = [
    "edge",
    "inference-routing",
    "billing",
    "identity",
    "privacy",
    "verification",
    "device-registry",
    "rabbitmq",
    "postgres",
];
/// Tokens of a call, and what a router's kill may give away.
const TOKENS: u64 = 40;
const WINDOW: u64 = 64;
const TOP_UP_FEN: i64 = 100_000;
/// The first calls, of 0.4 s each, are in their middle by then.
const UNDER_WAY: Duration = Duration::from_millis(250);
/// Others begin while it is dead.
const DEAD: Duration = Duration::from_millis(300);

/// The figure.
pub(super) fn figure() -> Figure {
    Figure {
        name: "kill-each",
        claim: "kill -9 of any process during paid streams: each call billed once, ledger sum 0",
        kind: Kind::Correctness,
        measure: |stack, tier| Box::pin(measure(stack, tier)),
    }
}

/// How many calls there are for each victim.
#[derive(Clone, Copy)]
struct Extent {
    calls: usize,
    /// So many at once.
    workers: usize,
    /// After so long no new call begins.
    limit: Duration,
}

impl Extent {
    const fn of(tier: Tier) -> Self {
        match tier {
            Tier::Quick => Self {
                calls: 24,
                workers: 8,
                limit: Duration::from_secs(30),
            },
            Tier::Full => Self {
                calls: 1000,
                workers: 40,
                limit: Duration::from_secs(240),
            },
        }
    }
}

async fn measure(stack: Stack, tier: Tier) -> anyhow::Result<Reading> {
    let extent = Extent::of(tier);
    let customers = customers(&stack, 4, TOP_UP_FEN).await?;
    let mut done = 0;
    for victim in VICTIMS {
        let begin = Instant::now();
        let finished = calls_while_killed(&stack, &customers, victim, extent).await?;
        done += finished;
        println!(
            "  {victim}: {finished} of {} answered, {:.1?}",
            extent.calls,
            begin.elapsed()
        );
    }
    let took = settled(&customers, Duration::from_secs(60)).await?;
    println!("  settled {took:.1?} after the last kill");

    let mut wrong = Vec::new();
    let mut given_away = 0;
    let truth = engine_truth(&stack, &customers[0]).await?;
    for journey in &customers {
        given_away += check(journey, &truth, &mut wrong).await?;
    }
    let (sum, entries) = ledger_sum(&stack).await?;
    if sum != "0" {
        wrong.push(format!("the ledger sums to {sum}"));
    }
    let unpublished = unpublished(&stack).await?;
    if unpublished > 0 {
        wrong.push(format!("{unpublished} events are still in an outbox"));
    }
    for line in wrong.iter().take(20) {
        println!("  WRONG: {line}");
    }
    println!(
        "  {done} answered whole, {entries} entries sum to {sum}, {given_away} tokens given away"
    );
    Ok(Reading {
        figure: wrong.len().to_string(),
        unit: "wrong bills, sums or events".to_owned(),
        goal: "0".to_owned(),
        holds: wrong.is_empty() && done > 0,
    })
}

/// Runs calls, kills the victim in the middle and starts it again; answers how many calls ended
/// whole. A call that a kill refuses is tried again, as a client would.
async fn calls_while_killed(
    stack: &Stack,
    customers: &[Journey],
    victim: &str,
    extent: Extent,
) -> anyhow::Result<usize> {
    let script = json!({"tokens": TOKENS, "delay_ms": 10});
    let workers = extent.workers;
    let load = (0..workers).map(|worker| {
        let journey = customers[worker % customers.len()].clone();
        let body = scripted(script.clone());
        async move {
            let mut finished = 0;
            let deadline = Instant::now() + extent.limit;
            while finished < extent.calls / workers && Instant::now() < deadline {
                match journey.chat_stream(body.clone(), |_| ()).await {
                    Ok(answer) if answer.done => finished += 1,
                    // Cut or refused: tried again.
                    Ok(_) | Err(_) => sleep(Duration::from_millis(100)).await,
                }
            }
            finished
        }
    });
    let kill = async {
        sleep(UNDER_WAY).await;
        let process = stack.process(victim);
        process.kill9();
        sleep(DEAD).await;
        process.start()?;
        process.wait_ready(Duration::from_secs(30)).await?;
        // A process that rightly gave up meanwhile is started again, as Kubernetes would.
        for process in stack.processes() {
            if !process.is_alive() {
                process.start()?;
                process.wait_ready(Duration::from_secs(30)).await?;
            }
        }
        anyhow::Ok(())
    };
    let (finished, killed) = tokio::join!(futures::future::join_all(load), kill);
    killed?;
    Ok(finished.into_iter().sum())
}

/// Compares every bill with what the engine sent; answers the tokens that were given away.
async fn check(
    journey: &Journey,
    truth: &std::collections::BTreeMap<String, super::customers::Sent>,
    wrong: &mut Vec<String>,
) -> anyhow::Result<u64> {
    let (bills, outcomes) = (bills(journey).await?, outcomes(journey).await?);
    let mut given_away = 0;
    let mut spent = 0;
    for id in bills.keys().filter(|id| !outcomes.contains_key(*id)) {
        wrong.push(format!("{id} is billed and in no call log"));
    }
    for (id, outcome) in &outcomes {
        let Some([bill]) = bills.get(id).map(Vec::as_slice) else {
            wrong.push(format!("{id} has not exactly one bill"));
            continue;
        };
        spent += bill.nanos;
        let (sent, prompt) = truth
            .get(id)
            .map_or((0, 0), |sent| (sent.tokens, sent.prompt));
        let right = match outcome.as_str() {
            "CALL_OUTCOME_COMPLETED" => bill.output == sent && bill.input == prompt,
            "CALL_OUTCOME_RECOVERED" => {
                given_away += sent.saturating_sub(bill.output);
                bill.output <= sent && sent - bill.output <= WINDOW
            }
            // The edge or the client went away: what was read by then, never more than was sent.
            _ => bill.output <= sent && bill.input <= prompt,
        };
        if !right {
            wrong.push(format!(
                "{id} {outcome}: {bill:?}, sent {sent}, prompt {prompt}"
            ));
        }
    }
    let (available, leased) = journey.balance().await?;
    let paid = TOP_UP_FEN * 10_000_000;
    if available + leased + spent != paid {
        wrong.push(format!(
            "{paid} paid, {spent} spent, {available} left, {leased} set aside"
        ));
    }
    Ok(given_away)
}

/// Events that no broker has accepted yet, in all services.
async fn unpublished(stack: &Stack) -> anyhow::Result<i64> {
    let mut unpublished = 0;
    for url in stack.description().database.urls.values() {
        let pool = PgPoolOptions::new().max_connections(1).connect(url).await?;
        let count: i64 =
            sqlx::query_scalar("select count(*) from outbox where published_at is null")
                .fetch_one(&pool)
                .await?;
        unpublished += count;
    }
    Ok(unpublished)
}
