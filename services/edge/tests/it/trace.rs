use serde_json::json;
use tonic::Request;

use crate::world::{World, say};

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_of_a_client_goes_on_behind_the_edge() {
    let world = World::start().await;
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let span = "00f067aa0ba902b7";
    let parent = format!("00-{trace}-{span}-01");
    let request = world
        .post("/wanwu.billing.v1.EchoService/Say")
        .json(&json!({}));
    let answer = request.header("traceparent", &parent).send().await.unwrap();
    assert_eq!(answer.headers()["wanwu-trace-id"], trace);
    let behind = world.echo.last()["traceparent"]
        .to_str()
        .unwrap()
        .to_owned();
    assert!(behind.contains(trace) && !behind.contains(span), "{behind}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_without_a_trace_begins_one() {
    let world = World::start().await;
    let grpc = world.grpc().await;
    let answer = grpc.say("Say", Request::new(say("x"))).await.unwrap();
    let trace = answer
        .metadata()
        .get("wanwu-trace-id")
        .unwrap()
        .to_str()
        .unwrap();
    assert_eq!(trace.len(), 32);
    assert!(
        world.echo.last()["traceparent"]
            .to_str()
            .unwrap()
            .contains(trace)
    );
}
