//! Every engine goes wrong.

use std::{sync::atomic::Ordering, time::Duration};

use serde_json::json;
use sqlx::PgPool;
use tokio::time::Instant;

use super::{Fault, Trial, WORKERS};
use crate::{
    metrics::Metrics,
    world::{chat, wait_for},
};

/// Every engine goes wrong while so many clients call, each with so long for its first token: attempts are at
/// most a fifth more than calls, and there is a way back.
async fn storm(pool: PgPool, fault: Fault, clients: usize, first_token: Duration) {
    let trial = Trial::start_with(pool.clone(), |sections| {
        sections.engines.first_token_timeout = first_token;
    })
    .await;
    // Calls that run at the same time are all paid for beforehand.
    let (billing, account) = (&trial.world.billing, trial.world.caller.account_id);
    billing.give(account, 1_000_000_000_000);
    // Shortly: what is saved up for further attempts is to be little beside the calls of the storm.
    trial.load(Duration::from_millis(100)).await;
    for engine in &trial.engines {
        engine.set(fault).await;
    }
    let storm = trial.load_from(clients, Duration::from_secs(3)).await;
    let calls = storm.calls.load(Ordering::Relaxed);
    wait_for("the final rows", async || {
        refused(&pool).await.0 == i64::from(storm.refused.load(Ordering::Relaxed))
    })
    .await;
    let (rows, attempts) = refused(&pool).await;
    println!("{fault:?}: {calls} calls, {rows} of them unanswered with {attempts} attempts");
    // Nobody was well: nearly all of them had no answer.
    assert!(calls > 200 && rows * 2 > i64::from(calls), "{fault:?}");
    assert!(attempts * 5 <= rows * 6, "{fault:?}: {attempts} of {rows}");
    for engine in &trial.engines {
        engine.set(Fault::Nothing).await;
    }
    let begin = Instant::now();
    while trial.world.call(&chat(true, json!({}))).await.is_err() {
        assert!(begin.elapsed() < Duration::from_secs(5), "no way back");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[sqlx::test]
async fn in_a_storm_attempts_are_at_most_a_fifth_more_than_calls(pool: PgPool) {
    storm(pool, Fault::Refuses, WORKERS, Duration::from_millis(800)).await;
}

#[sqlx::test]
async fn in_a_storm_of_engines_that_fail_attempts_are_as_few(pool: PgPool) {
    storm(pool, Fault::Fails, WORKERS, Duration::from_millis(800)).await;
}

#[sqlx::test]
async fn in_a_storm_of_blackholed_engines_attempts_are_as_few(pool: PgPool) {
    storm(pool, Fault::Blackholed, 60, Duration::from_millis(200)).await;
}

#[sqlx::test]
async fn in_a_storm_of_engines_that_hang_attempts_are_as_few(pool: PgPool) {
    storm(pool, Fault::Hangs, 60, Duration::from_millis(200)).await;
}

/// Every engine goes wrong: as long as that lasts each is shown as not well, the last one standing too, or no
/// alert would tell of it. Then all are well again.
async fn shown_as_they_are(pool: PgPool, fault: Fault) {
    let metrics = Metrics::collected();
    let trial = Trial::start(pool).await;
    let model = ("model", "test");
    let well = || metrics.sum("inference_routing_engine_well", &[model]);
    let all = trial.engines.len() as f64;
    let until = async |what: &str, are_well: f64| {
        let begin = Instant::now();
        while well() != are_well {
            let waited = begin.elapsed();
            assert!(waited < Duration::from_secs(60), "{fault:?}: {what}");
            trial.load(Duration::from_millis(100)).await;
        }
    };
    until("they are well", all).await;
    for engine in &trial.engines {
        engine.set(fault).await;
    }
    until("none is well", 0.0).await;
    trial.load(Duration::from_millis(500)).await;
    assert_eq!(well(), 0.0, "with calls");
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(well(), 0.0, "without");
    for engine in &trial.engines {
        engine.set(Fault::Nothing).await;
    }
    until("they are well again", all).await;
    for to in ["ejected", "trusted"] {
        let changes = metrics.sum("inference_routing_engine_changes", &[model, ("to", to)]);
        assert!(changes >= 2.0, "{to}: {changes}");
    }
}

#[sqlx::test]
async fn engines_that_all_refuse_connections_are_shown_as_ill_and_then_as_well(pool: PgPool) {
    shown_as_they_are(pool, Fault::Refuses).await;
}

#[sqlx::test]
async fn engines_that_all_hang_are_shown_as_ill_and_then_as_well(pool: PgPool) {
    shown_as_they_are(pool, Fault::Hangs).await;
}

/// Calls that no engine answered, and their attempts.
async fn refused(pool: &PgPool) -> (i64, i64) {
    sqlx::query_as(
        "select count(*), coalesce(sum(attempts), 0)::bigint from calls where outcome = 3",
    )
    .fetch_one(pool)
    .await
    .unwrap()
}
