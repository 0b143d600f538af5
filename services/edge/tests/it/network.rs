use metrics_exporter_prometheus::PrometheusBuilder;
use reqwest::Method;
use serde_json::{Value, json};
use tonic::{Code, Request};
use wanwu_testkit::wait_for;

use crate::{
    metrics::value,
    world::{ABROAD, PATIENCE, World, reason, say},
};

#[tokio::test(flavor = "multi_thread")]
async fn who_comes_from_abroad_is_refused() {
    let world = World::start().await;
    let grpc = world.grpc_from(ABROAD).await;
    let (key, _) = world.identity.key(&["chat"]);
    let status = grpc.say_as("SayAsKey", &key).await.unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied);
    assert_eq!(reason(&status), "NETWORK_NOT_ALLOWED");
    // Methods that are for everybody everywhere, and health, are answered.
    grpc.say("SayFromAnywhere", Request::new(say("x")))
        .await
        .unwrap();
    let from_abroad = |method, path: &str| world.http_from(ABROAD, method, path);
    assert_eq!(
        from_abroad(Method::GET, "/healthz")
            .send()
            .await
            .unwrap()
            .status(),
        200
    );
    for request in [
        from_abroad(Method::POST, "/v1/chat/completions").json(&json!({})),
        from_abroad(Method::GET, "/v1/models"),
    ] {
        let answer = request.bearer_auth(&key).send().await.unwrap();
        assert_eq!(answer.status(), 403);
        let body: Value = answer.json().await.unwrap();
        assert_eq!(body["error"]["code"], "network_not_allowed");
    }
    let path = "/wanwu.billing.v1.EchoService/Say";
    let answer = from_abroad(Method::POST, path)
        .json(&json!({}))
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 403);
    // What a stranger says of his address is not believed.
    let lied = from_abroad(Method::POST, path).header("x-forwarded-for", "203.0.113.7");
    assert_eq!(lied.json(&json!({})).send().await.unwrap().status(), 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trusted_proxy_says_where_the_client_is() {
    let world = World::start_with("[network]\ntrusted_proxies = ['127.9.9.0/24']").await;
    let cases = [
        (Some("203.0.113.7"), 200),
        (Some("8.8.8.8, 203.0.113.7"), 200),
        (Some("203.0.113.7, 8.8.8.8"), 403),
        (Some("203.0.113.7, nonsense"), 403),
        (None, 403),
    ];
    for (forwarded, status) in cases {
        let path = "/wanwu.billing.v1.EchoService/Say";
        let mut request = world.http_from(ABROAD, Method::POST, path).json(&json!({}));
        if let Some(forwarded) = forwarded {
            request = request.header("x-forwarded-for", forwarded);
        }
        assert_eq!(
            request.send().await.unwrap().status(),
            status,
            "{forwarded:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_table_of_networks_is_read_while_the_edge_runs() {
    let metrics = PrometheusBuilder::new().install_recorder().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let table = folder.path().join("mainland.txt");
    std::fs::write(&table, edge::networks::EXAMPLE).unwrap();
    let world = World::start_with(&format!("[network]\ntable_file = {table:?}")).await;
    let path = "/wanwu.billing.v1.EchoService/Say";
    let status = || async {
        let request = world.http_from(ABROAD, Method::POST, path).json(&json!({}));
        request.send().await.unwrap().status().as_u16()
    };
    assert_eq!(status().await, 403);
    std::fs::write(&table, "date 2026-11-24\n127.0.0.0/8\n").unwrap();
    wait_for("the new table", PATIENCE, || async {
        status().await == 200
    })
    .await;
    // A bad table changes nothing.
    std::fs::write(&table, "nonsense").unwrap();
    let refused = r#"edge_file_reloads_total{file="networks",outcome="refused"}"#;
    wait_for("it to be read", PATIENCE, || async {
        value(&metrics, refused) >= 1.0
    })
    .await;
    assert_eq!(status().await, 200);
}
