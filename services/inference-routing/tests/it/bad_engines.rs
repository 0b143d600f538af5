//! One of three engines goes wrong under load; clients see nothing of it before their first token.

mod engine;
mod half;
mod health;
mod storm;
mod transport;
mod trial;
mod whole_answers;

use std::{sync::atomic::Ordering, time::Duration};

use serde_json::json;
use sqlx::PgPool;
use tokio::time::Instant;

use crate::{
    metrics::Metrics,
    world::{World, chat},
};
use engine::{BadEngine, Fault};
use trial::{Trial, WORKERS, at_most_one_in_a_thousand};

#[sqlx::test]
async fn an_engine_that_refuses_connections_costs_no_client_anything(pool: PgPool) {
    let metrics = Metrics::collected();
    let trial = Trial::start(pool).await;
    let (seen, _) = trial.run(Fault::Refuses).await;
    at_most_one_in_a_thousand(&seen);
    assert!(trial.left_out(&metrics) >= 1.0);
}

#[sqlx::test]
async fn a_blackholed_engine_costs_no_client_its_answer(pool: PgPool) {
    let (seen, later) = Trial::start(pool).await.run(Fault::Blackholed).await;
    at_most_one_in_a_thousand(&seen);
    assert!(later <= 3, "{later} calls were sent into the hole");
}

#[sqlx::test]
async fn who_waits_for_a_blackholed_engine_is_answered_by_another(pool: PgPool) {
    let trial = Trial::start_patient(pool).await;
    trial.load(Duration::from_millis(300)).await;
    trial.engines[0].set(Fault::Blackholed).await;
    let begin = Instant::now();
    let seen = trial.load(Duration::from_millis(500)).await;
    let longest = begin.elapsed();
    at_most_one_in_a_thousand(&seen);
    // Three questions without an answer, 200 ms each, and what a busy machine adds.
    assert!(longest < Duration::from_secs(5), "{longest:?}");
}

#[sqlx::test]
async fn an_engine_that_hangs_and_says_that_it_is_well_costs_only_a_wait(pool: PgPool) {
    let trial = Trial::start_patient(pool).await;
    let begin = Instant::now();
    let (seen, later) = trial.run(Fault::Hangs).await;
    let took = begin.elapsed();
    at_most_one_in_a_thousand(&seen);
    assert!(later <= 5, "{later} calls were sent to it");
    // Nobody waited for the first token as long as one may.
    assert!(took < Duration::from_secs(30), "{took:?}");
}

#[sqlx::test]
async fn an_engine_that_is_ten_times_slower_costs_no_client_its_answer(pool: PgPool) {
    let (seen, later) = Trial::start(pool).await.run(Fault::TenTimesSlower).await;
    at_most_one_in_a_thousand(&seen);
    let calls = u64::from(seen.calls.load(Ordering::Relaxed));
    // A third of them would be a sixth of all: the first half of the calls came before it was slow.
    assert!(later * 8 < calls, "{later} of {calls} went to the slow one");
}

#[sqlx::test]
async fn an_engine_that_cuts_its_streams_is_left_out(pool: PgPool) {
    let (seen, later) = Trial::start(pool).await.run(Fault::CutsStreams).await;
    at_most_one_in_a_thousand(&seen);
    // Those that had begun when it was found out, and those on trial.
    assert!(later <= 5, "{later} calls were sent to it");
    assert!(seen.cut.load(Ordering::Relaxed) <= 30, "{seen:?}");
}

#[sqlx::test]
async fn an_engine_that_sends_nonsense_costs_no_client_anything(pool: PgPool) {
    let metrics = Metrics::collected();
    let trial = Trial::start(pool).await;
    let (seen, _) = trial.run(Fault::Garbage).await;
    at_most_one_in_a_thousand(&seen);
    assert!(trial.left_out(&metrics) >= 1.0);
    assert_eq!(seen.cut.load(Ordering::Relaxed), 0);
}

#[sqlx::test]
async fn an_engine_that_sends_no_usage_is_used_on(pool: PgPool) {
    let (seen, later) = Trial::start(pool).await.run(Fault::NoUsage).await;
    at_most_one_in_a_thousand(&seen);
    assert!(later > 10);
}

#[sqlx::test]
async fn an_engine_that_sends_its_events_in_pieces_is_used_on(pool: PgPool) {
    let (seen, later) = Trial::start(pool).await.run(Fault::InPieces).await;
    at_most_one_in_a_thousand(&seen);
    assert_eq!(seen.cut.load(Ordering::Relaxed), 0);
    assert!(later > 10);
}

#[sqlx::test]
async fn a_busy_engine_is_left_alone_as_long_as_it_wants(pool: PgPool) {
    let (seen, later) = Trial::start(pool).await.run(Fault::Busy).await;
    at_most_one_in_a_thousand(&seen);
    // It said one second: of a second and a half it saw the calls of two moments.
    assert!(later <= 2 * WORKERS as u64, "{later}");
}

#[sqlx::test]
async fn engines_join_and_leave_while_calls_run(pool: PgPool) {
    let (old, new) = (BadEngine::start().await, BadEngine::start().await);
    let file = std::env::temp_dir().join(format!("engines-{}", crate::world::id::<()>()));
    std::fs::write(&file, &old.url).unwrap();
    let source = format!("file:{}", file.display());
    let metrics = Metrics::collected();
    let world = World::with(pool, |sections| {
        sections.models[0].engines.truncate(1);
        sections.models[0].engines[0].url = source;
        sections.engines.discover_every = Duration::from_millis(50);
        sections.engines.slow_start = Duration::from_millis(100);
    })
    .await;
    let call = async || {
        world
            .call(&chat(true, json!({})))
            .await
            .map(|got| got.error)
    };
    crate::world::wait_for("the first engine", async || call().await.is_ok()).await;
    std::fs::write(&file, format!("{} draining\n{}", old.url, new.url)).unwrap();
    crate::world::wait_for("the second engine", async || {
        assert!(matches!(call().await, Ok(None)));
        new.calls() > 0
    })
    .await;
    let before = old.calls();
    for _ in 0..50 {
        assert!(matches!(call().await, Ok(None)));
    }
    assert_eq!(old.calls(), before, "it is draining");
    std::fs::write(&file, &old.url).unwrap();
    crate::world::wait_for("the first engine to come back", async || {
        assert!(matches!(call().await, Ok(None)));
        old.calls() > before
    })
    .await;
    std::fs::remove_file(&file).unwrap();
    assert!(
        matches!(call().await, Ok(None)),
        "a lost file changes nothing"
    );
    crate::world::wait_for("the lost file to be told", async || {
        metrics.sum("inference_routing_discovery_failures", &[]) >= 1.0
    })
    .await;
    let known = [("model", "test")];
    crate::world::wait_for("the engines to be counted", async || {
        metrics.sum("inference_routing_engines", &known) == 1.0
    })
    .await;
}
