//! What dashboards and alerts see of requests.

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use serde_json::json;
use wanwu_testkit::wait_for;

use crate::{
    chat::clients::slow_reader,
    identity::SECRET,
    world::{PATIENCE, World, reason},
};

/// The number of one series; 0 where it is not there.
pub fn value(metrics: &PrometheusHandle, series: &str) -> f64 {
    let said = metrics.render();
    let number = |line: &str| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok();
    said.lines().find_map(number).unwrap_or_default()
}

/// One test is one process: the metrics are this test's alone.
#[tokio::test(flavor = "multi_thread")]
async fn requests_are_counted_by_way_and_end_and_refusals_by_reason() {
    let metrics = PrometheusBuilder::new().install_recorder().unwrap();
    let world = World::start().await;
    let (key, _) = world.identity.key(&["chat"]);
    let ask = || {
        let request = world.post("/v1/chat/completions");
        request.json(&json!({"text": "{}"}))
    };
    let answer = ask().bearer_auth(&key).send().await.unwrap();
    assert_eq!(answer.text().await.unwrap(), "{}");
    assert_eq!(ask().send().await.unwrap().status(), 401);
    let stream = json!({"stream": true, "n": 2, "delay_ms": 60_000});
    let open = world.post("/v1/chat/completions").bearer_auth(&key);
    let mut open = open.json(&stream).send().await.unwrap();
    open.chunk().await.unwrap().unwrap();
    wait_for("one to be under way", PATIENCE, || async {
        value(&metrics, "edge_in_flight") == 1.0
    })
    .await;
    drop(open);
    let refused = world.grpc().await.say_as("SayAsOperator", &key).await;
    let refused = reason(&refused.unwrap_err());
    std::fs::write(&world.descriptors, b"nonsense").unwrap();
    let refusals = format!("edge_refusals_total{{reason=\"{refused}\"}}");
    let told = [
        (r#"edge_requests_total{kind="chat",status="200"}"#, 1.0),
        (r#"edge_requests_total{kind="chat",status="401"}"#, 1.0),
        (
            r#"edge_requests_total{kind="chat",status="client_gone"}"#,
            1.0,
        ),
        (r#"edge_request_seconds_count{kind="chat"}"#, 3.0),
        // Who has no key goes no further.
        (r#"edge_added_seconds_count{kind="chat"}"#, 2.0),
        (refusals.as_str(), 1.0),
        (
            r#"edge_file_reloads_total{file="descriptors",outcome="refused"}"#,
            1.0,
        ),
        ("edge_in_flight", 0.0),
    ];
    for (series, number) in told {
        // A request is counted when its answer has gone, which may be after it has come.
        wait_for(series, PATIENCE, || async {
            value(&metrics, series) == number
        })
        .await;
    }
}

/// How much of `credentials.capacity` is in use.
#[tokio::test(flavor = "multi_thread")]
async fn a_good_credential_is_held_once_however_often_it_calls_and_a_made_up_one_is_not() {
    let metrics = PrometheusBuilder::new().install_recorder().unwrap();
    // One credential of its own has called until it was answered.
    let world = World::start().await;
    let grpc = world.grpc().await;
    for _ in 0..2 {
        let (key, _) = world.identity.key(&["chat"]);
        for _ in 0..3 {
            grpc.say_as("SayAsKey", &key).await.unwrap();
        }
    }
    let unknown = format!("wk-{}-{SECRET}", uuid::Uuid::new_v4().simple());
    grpc.say_as("SayAsKey", &unknown).await.unwrap_err();
    wait_for("the number of grants", PATIENCE, || async {
        value(&metrics, "edge_grants_held") == 3.0
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_whose_client_takes_nothing_is_told_and_a_silent_one_is_not() {
    let metrics = PrometheusBuilder::new().install_recorder().unwrap();
    let world = World::start_with("[limits]\nstall_timeout = '300ms'").await;
    let (key, _) = world.identity.key(&["chat"]);
    let stalled = || value(&metrics, "edge_stalled_connections_total");
    let body = json!({"stream": true, "n": 3, "delay_ms": 400});
    let request = world.post("/v1/chat/completions").bearer_auth(&key);
    let answer = request.json(&body).send().await.unwrap();
    let text = answer.text().await.unwrap();
    assert!(text.ends_with("data: [DONE]\n\n"), "{text}");
    assert_eq!(stalled(), 0.0);
    let _reader = slow_reader(&world, &key).await;
    wait_for("the stalled connection", PATIENCE, || async {
        stalled() == 1.0
    })
    .await;
}
