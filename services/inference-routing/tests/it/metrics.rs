//! What dashboards see of calls.

use std::time::Duration;

use inference_routing::Error;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use serde_json::json;
use sqlx::PgPool;

use crate::world::{
    World, chat, config,
    engine::{FakeEngine, PROMPT_TOKENS},
    read, rows, wait_for,
};

/// Metrics of this test's process.
pub struct Metrics(PrometheusHandle);

impl Metrics {
    /// Takes them from now on. One test is one process.
    pub fn collected() -> Self {
        Self(PrometheusBuilder::new().install_recorder().unwrap())
    }

    /// The sum of all series of a name that have these labels.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let labels = labels
            .iter()
            .map(|(name, value)| format!("{name}=\"{value}\""));
        let labels: Vec<_> = labels.collect();
        let said = self.0.render();
        let series = said.lines().filter_map(|line| {
            let (series, value) = line.rsplit_once(' ')?;
            let rest = series.strip_prefix(name)?;
            let of_name = rest.is_empty() || rest.starts_with('{');
            let has_all = labels.iter().all(|label| series.contains(label));
            (of_name && has_all).then(|| value.parse::<f64>().unwrap())
        });
        series.sum()
    }
}

#[sqlx::test]
async fn times_and_tokens_of_calls_are_told_by_model(pool: PgPool) {
    let metrics = Metrics::collected();
    let world = World::with(pool.clone(), |config| config.chat.max_running = 1).await;
    let slow = json!({"tokens": 5, "delay_ms": 20, "cached": 4});
    let first = world.begin(&chat(true, slow)).await.unwrap();
    // The second waits for its turn until the first has ended.
    let second = chat(true, json!({"tokens": 3}));
    let (first, second) = tokio::join!(read(first), world.call(&second));
    for call in [first.call_id, second.unwrap().call_id] {
        rows::ended(&pool, &call).await;
    }
    let of_model = [
        ("gen_ai_provider_name", "wanwu"),
        ("gen_ai_operation_name", "chat"),
        ("gen_ai_request_model", "test"),
        ("gen_ai_response_model", "test"),
    ];
    for name in [
        "gen_ai_server_time_to_first_token_seconds_count",
        "gen_ai_server_time_per_output_token_seconds_count",
        "gen_ai_server_request_duration_seconds_count",
    ] {
        assert_eq!(metrics.sum(name, &of_model), 2.0, "{name}");
    }
    let tokens = |kind, what| {
        let kind = [("gen_ai_token_type", kind)];
        let name = format!("gen_ai_client_token_usage_{what}");
        metrics.sum(&name, &[&of_model[..], &kind].concat())
    };
    assert_eq!(tokens("input", "sum"), 2.0 * PROMPT_TOKENS as f64);
    assert_eq!(tokens("output", "sum"), 8.0);
    assert_eq!(tokens("output", "count"), 2.0);
    let model = [("model", "test")];
    assert_eq!(
        metrics.sum("inference_routing_cached_input_tokens", &model),
        4.0
    );
    let queue = |what| metrics.sum(&format!("inference_routing_queue_seconds_{what}"), &model);
    assert_eq!(queue("count"), 2.0);
    let waited = Duration::from_secs_f64(queue("sum"));
    assert!(waited > Duration::from_millis(40), "{waited:?}");
    // The turn is part of what the client waited.
    let seconds = |name: &str| metrics.sum(&format!("gen_ai_server_{name}_seconds_sum"), &of_model);
    let (to_first, whole) = (seconds("time_to_first_token"), seconds("request_duration"));
    assert!(
        queue("sum") < to_first && to_first < whole,
        "{waited:?}, {to_first} s, {whole} s"
    );
    // Each has a row at its dispatch and one at its end.
    assert!(metrics.sum("inference_routing_journal_commit_seconds_count", &[]) >= 1.0);
    let written = metrics.sum("inference_routing_journal_batch_rows_sum", &[]);
    assert!(written >= 4.0, "{written}");
}

#[sqlx::test]
async fn the_pauses_of_an_engine_are_told_and_those_of_a_client_are_not(pool: PgPool) {
    let metrics = Metrics::collected();
    let world = World::start(pool.clone()).await;
    let between = |what| {
        let name = format!("gen_ai_client_operation_time_per_output_chunk_seconds_{what}");
        metrics.sum(&name, &[("gen_ai_response_model", "test")])
    };
    let paused = chat(true, json!({"tokens": 6, "delay_ms": 50}));
    let got = world.call(&paused).await.unwrap();
    rows::ended(&pool, &got.call_id).await;
    // The first may have come while the call was still dispatched.
    let (pauses, seconds) = (between("count"), between("sum"));
    assert!(pauses == 5.0 && seconds > 0.1, "{pauses} in {seconds} s");
    let reply = world.begin(&chat(true, json!({"tokens": 90}))).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let got = read(reply.unwrap()).await;
    rows::ended(&pool, &got.call_id).await;
    assert!(between("count") > pauses);
    let more = between("sum") - seconds;
    assert!(more < 0.8, "{more} s are the client's");
}

#[sqlx::test]
async fn a_wait_for_a_turn_is_told_whatever_comes_of_it(pool: PgPool) {
    let metrics = Metrics::collected();
    let world = World::with(pool, |config| {
        config.chat.max_running = 1;
        config.chat.queue_timeout = Duration::from_secs(2);
    })
    .await;
    let long = chat(true, json!({"tokens": 1000, "delay_ms": 20}));
    let _running = world.begin(&long).await.unwrap();
    let model = world.app.chat.catalogue.find("test").unwrap();
    tokio::select! {
        _ = world.begin(&long) => panic!("there is no turn for it"),
        () = wait_for("the call to wait", async || model.admission.load().1 == 1) => {}
    }
    let refused = world.begin(&long).await;
    assert!(matches!(refused, Err(Error::Busy { .. })));
    let told = |outcome: &str, what: &str| {
        let name = format!("inference_routing_queue_seconds_{what}");
        metrics.sum(&name, &[("model", "test"), ("outcome", outcome)])
    };
    for outcome in ["placed", "left", "refused"] {
        assert_eq!(told(outcome, "count"), 1.0, "{outcome}");
    }
    assert!(told("refused", "sum") > 1.9, "it waited as long as it may");
}

#[sqlx::test]
async fn the_blocks_remembered_of_an_engine_are_told_and_are_no_more_than_may_be(pool: PgPool) {
    let metrics = Metrics::collected();
    let other = FakeEngine::start().await;
    let world = World::with(pool, |sections| {
        let more = config(&[&other.url]).models.remove(0).engines;
        sections.models[0].engines.extend(more);
        sections.engines.prefix_blocks = 8;
        sections.engines.probe_every = Duration::from_millis(50);
    })
    .await;
    let mut long = chat(true, json!({"tokens": 1}));
    long["messages"][0]["content"] = json!("x".repeat(20_000));
    world.call(&long).await.unwrap();
    let of = |engine: &FakeEngine| {
        let engine = [("engine", engine.url.as_str())];
        metrics.sum("inference_routing_prefix_blocks", &engine)
    };
    wait_for("blocks to be told", async || {
        of(&world.engine) + of(&other) > 0.0
    })
    .await;
    let mut told = [of(&world.engine), of(&other)];
    told.sort_by(f64::total_cmp);
    assert_eq!(told, [0.0, 8.0]);
}
