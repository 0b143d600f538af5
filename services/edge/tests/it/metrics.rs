//! What dashboards and alerts see of requests.

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use serde_json::json;
use wanwu_testkit::wait_for;

use crate::world::{PATIENCE, World, reason};

/// The number of one series; 0 where it is not there.
fn value(metrics: &PrometheusHandle, series: &str) -> f64 {
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
    let refused = world.grpc().await.say_as("SayAsOperator", &key).await;
    let refused = reason(&refused.unwrap_err());
    std::fs::write(&world.descriptors, b"nonsense").unwrap();
    let refusals = format!("edge_refusals_total{{reason=\"{refused}\"}}");
    let told = [
        (r#"edge_requests_total{kind="chat",status="200"}"#, 1.0),
        (r#"edge_requests_total{kind="chat",status="401"}"#, 1.0),
        (r#"edge_request_seconds_count{kind="chat"}"#, 2.0),
        // Who has no key goes no further.
        (r#"edge_added_seconds_count{kind="chat"}"#, 1.0),
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
