use metrics_exporter_prometheus::PrometheusBuilder;
use serde_json::json;
use tonic::Request;
use wanwu_testkit::wait_for;

use crate::{
    echo,
    metrics::value,
    world::{PATIENCE, World, say},
};

const YOUNGER: &str = r#"
syntax = "proto3";
package wanwu.billing.v2;
import "wanwu/access/v1/access.proto";
service EchoService {
  rpc Shout(ShoutRequest) returns (ShoutResponse) { option (wanwu.access.v1.rule) = {anonymous: true}; }
}
message ShoutRequest { string text = 1; }
message ShoutResponse { string text = 1; }
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_new_method_is_there_without_a_new_edge() {
    let metrics = PrometheusBuilder::new().install_recorder().unwrap();
    let world = World::start().await;
    let path = "/wanwu.billing.v2.EchoService/Shout";
    let shout = || async {
        let answer = world
            .post(path)
            .json(&json!({"text": "hey"}))
            .send()
            .await
            .unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    assert_eq!(shout().await.0, 404);

    // A file that is no set of descriptors keeps what was there.
    std::fs::write(&world.descriptors, b"nonsense").unwrap();
    let refused = r#"edge_file_reloads_total{file="descriptors",outcome="refused"}"#;
    wait_for("the file to be read", PATIENCE, || async {
        value(&metrics, refused) >= 1.0
    })
    .await;
    world
        .grpc()
        .await
        .say("Say", Request::new(say("x")))
        .await
        .unwrap();

    let mut bytes = echo::descriptors();
    bytes.extend(echo::compiled("younger.proto", YOUNGER));
    std::fs::write(&world.descriptors, bytes).unwrap();
    wait_for("the new method", PATIENCE, || async {
        shout().await.0 == 200
    })
    .await;
    assert_eq!(shout().await.1, "{\"text\":\"hey\"}");
    world
        .grpc()
        .await
        .say("Say", Request::new(say("x")))
        .await
        .unwrap();
}
