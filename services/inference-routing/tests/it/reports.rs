//! What engines say of themselves by their metrics.

use serde_json::{Value, json};
use sqlx::PgPool;

use crate::{
    metrics::Metrics,
    world::{World, chat, config, engine::FakeEngine, wait_for},
};
use inference_routing::domain::engine_report::Reports;

/// A router with two engines that are read often.
async fn two(pool: PgPool) -> (World, FakeEngine) {
    let other = FakeEngine::start().await;
    let world = World::with(pool, |sections| {
        let more = config(&[&other.url]).models.remove(0).engines;
        sections.models[0].engines.extend(more);
        sections.models[0].reports = Reports::Vllm;
        sections.engines.report_every = std::time::Duration::from_millis(50);
        sections.engines.slow_start = std::time::Duration::from_millis(1);
    })
    .await;
    (world, other)
}

fn said(running: u32, started_at: u32) -> String {
    format!(
        "vllm:num_requests_running{{engine=\"0\"}} {running}\n\
         process_start_time_seconds {started_at}\n"
    )
}

/// Until what was said has been read: it is so every 50 ms.
async fn read() {
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
}

/// Makes so many calls; answers how many of them the first engine got.
async fn of_the_first(world: &World, calls: usize, body: impl Fn(usize) -> Value) -> usize {
    let before = world.engine.calls();
    for n in 0..calls {
        world.call(&body(n)).await.unwrap();
    }
    world.engine.calls() - before
}

/// A call that no other begins like.
fn unlike(n: usize) -> Value {
    let mut body = chat(true, json!({"tokens": 2}));
    body["messages"][0]["content"] = json!(format!("{n} {}", "x".repeat(2000)));
    body
}

#[sqlx::test]
async fn what_other_routers_run_on_an_engine_counts_as_its_load(pool: PgPool) {
    let (world, other) = two(pool).await;
    *world.engine.metrics.lock() = said(200, 1);
    *other.metrics.lock() = said(0, 1);
    read().await;
    let busy = of_the_first(&world, 60, unlike).await;
    assert!(busy <= 25, "{busy} of 60 to the busy one");
    // An engine that says nothing any more is as good as it is seen to be.
    *world.engine.metrics.lock() = String::new();
    *other.metrics.lock() = said(200, 1);
    read().await;
    let free = of_the_first(&world, 60, |n| unlike(100 + n)).await;
    assert!(free >= 36, "{free} of 60 to the free one");
}

#[sqlx::test]
async fn an_engine_that_began_anew_is_not_taken_for_one_that_knows_a_prompt(pool: PgPool) {
    let metrics = Metrics::collected();
    let (world, other) = two(pool).await;
    let engines = [&world.engine, &other];
    for engine in engines {
        *engine.metrics.lock() = said(0, 1);
    }
    read().await;
    let mut body = unlike(0);
    body["messages"][0]["content"] = json!("y".repeat(20_000));
    let first = of_the_first(&world, 3, |_| body.clone()).await;
    assert!(first == 0 || first == 3, "one prompt goes to one engine");
    let knows = usize::from(first == 0);
    *engines[knows].metrics.lock() = said(7, 60);
    read().await;
    let again = of_the_first(&world, 1, |_| body.clone()).await;
    assert_eq!(again, knows, "it was asked for what it has forgotten");
    let of = ("engine", engines[knows].url.as_str());
    assert_eq!(metrics.sum("inference_routing_engine_restarts", &[of]), 1.0);
    let running = [of, ("what", "running")];
    assert_eq!(
        metrics.sum("inference_routing_engine_reported", &running),
        7.0
    );
    // Of four calls with one prompt two found it, each as many blocks as the others had to do anew.
    let blocks = |kind| metrics.sum("inference_routing_placement_blocks", &[("kind", kind)]);
    assert!(blocks("known") > 0.0);
    assert_eq!(blocks("known"), blocks("new"));
}

#[sqlx::test]
async fn an_engine_whose_metrics_are_endless_answers_calls_as_ever(pool: PgPool) {
    let (world, _other) = two(pool).await;
    *world.engine.metrics.lock() = "x".repeat(8 << 20);
    read().await;
    wait_for("both engines to be used", async || {
        let n = world.engine.calls();
        world.call(&unlike(n + 1000)).await.unwrap();
        world.engine.calls() > 2
    })
    .await;
}
