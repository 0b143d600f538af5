//! What engines say of themselves by their metrics.

use serde_json::{Value, json};
use sqlx::PgPool;

use crate::{
    metrics::Metrics,
    world::{World, chat, config, engine::FakeEngine, wait_for},
};
use inference_routing::domain::engine_report::Reports;

/// How the engines of one family say what they do.
struct Family {
    reports: Reports,
    /// So many calls run, in the life of the process with this number.
    said: fn(u32, u32) -> String,
}

const VLLM: Family = Family {
    reports: Reports::Vllm,
    said: |running, life| {
        let started_at = life * 60;
        format!(
            "vllm:num_requests_running{{engine=\"0\"}} {running}\n\
             process_start_time_seconds {started_at}\n"
        )
    },
};

/// Several processes write these together, so that none says when it began: a new life shows in its counts.
const SGLANG: Family = Family {
    reports: Reports::Sglang,
    said: |running, life| {
        let labels = r#"engine_type="unified",model_name="m",pp_rank="0",tp_rank="0""#;
        let prompt_tokens = 1_000_000 / life;
        format!(
            "# HELP sglang:num_running_reqs The number of running requests.\n\
             # TYPE sglang:num_running_reqs gauge\n\
             sglang:num_running_reqs{{{labels}}} {running}.0\n\
             sglang:num_queue_reqs{{{labels}}} 0.0\n\
             sglang:token_usage{{{labels}}} 0.28\n\
             sglang:cache_hit_rate{{{labels}}} 0.5\n\
             sglang:prompt_tokens_total{{{labels}}} {prompt_tokens}.0\n"
        )
    },
};

/// A router with two engines that are read often.
async fn two(pool: PgPool, reports: Reports) -> (World, FakeEngine) {
    let other = FakeEngine::start().await;
    let world = World::with(pool, |sections| {
        let more = config(&[&other.url]).models.remove(0).engines;
        sections.models[0].engines.extend(more);
        sections.models[0].reports = reports;
        sections.engines.report_every = std::time::Duration::from_millis(50);
        sections.engines.slow_start = std::time::Duration::from_millis(1);
    })
    .await;
    (world, other)
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

/// What engines run for others, as they say themselves, is load.
async fn load_of_others_counts(pool: PgPool, Family { reports, said }: Family) {
    let (world, other) = two(pool, reports).await;
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

/// Another life of an engine empties what is remembered of it. Answers what is told of it then.
async fn another_life_knows_nothing(pool: PgPool, Family { reports, said }: Family) -> [f64; 3] {
    let metrics = Metrics::collected();
    let (world, other) = two(pool, reports).await;
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
    *engines[knows].metrics.lock() = said(7, 2);
    read().await;
    let again = of_the_first(&world, 1, |_| body.clone()).await;
    assert_eq!(again, knows, "it was asked for what it has forgotten");
    let of = ("engine", engines[knows].url.as_str());
    assert_eq!(metrics.sum("inference_routing_engine_restarts", &[of]), 1.0);
    // Of four calls with one prompt two found it, each as many blocks as the others had to do anew.
    let blocks = |kind| {
        let of_model = [("model", "test"), ("kind", kind)];
        metrics.sum("inference_routing_placement_blocks", &of_model)
    };
    assert!(blocks("known") > 0.0);
    assert_eq!(blocks("known"), blocks("new"));
    ["running", "cache_usage", "found"].map(|what| {
        let told = [of, ("what", what)];
        metrics.sum("inference_routing_engine_reported", &told)
    })
}

#[sqlx::test]
async fn what_other_routers_run_on_an_engine_counts_as_its_load(pool: PgPool) {
    load_of_others_counts(pool, VLLM).await;
}

#[sqlx::test]
async fn what_others_run_on_an_engine_counts_where_sglang_says_it(pool: PgPool) {
    load_of_others_counts(pool, SGLANG).await;
}

#[sqlx::test]
async fn an_engine_that_began_anew_is_not_taken_for_one_that_knows_a_prompt(pool: PgPool) {
    let [running, ..] = another_life_knows_nothing(pool, VLLM).await;
    assert_eq!(running, 7.0);
}

#[sqlx::test]
async fn an_sglang_engine_whose_counts_fell_is_not_taken_for_one_that_knows_a_prompt(pool: PgPool) {
    let told = another_life_knows_nothing(pool, SGLANG).await;
    assert_eq!(told, [7.0, 0.28, 0.5]);
}

#[sqlx::test]
async fn an_engine_whose_metrics_are_endless_answers_calls_as_ever(pool: PgPool) {
    let (world, other) = two(pool, Reports::Vllm).await;
    *world.engine.metrics.lock() = "x".repeat(8 << 20);
    read().await;
    wait_for("both engines to be used", async || {
        // Another prompt each time: one that is known goes where it is known.
        let n = world.engine.calls() + other.calls();
        world.call(&unlike(n + 1000)).await.unwrap();
        world.engine.calls() > 2
    })
    .await;
}
