use tokio_stream::StreamExt;
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
};

use crate::world::{ABROAD, PATIENCE, World, reason};

fn list() -> tokio_stream::Iter<std::vec::IntoIter<ServerReflectionRequest>> {
    tokio_stream::iter(vec![ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    }])
}

#[tokio::test(flavor = "multi_thread")]
async fn reflection_lists_what_is_public() {
    let world = World::start().await;
    let mut reflection = ServerReflectionClient::new(world.grpc().await.0);
    let mut answers = reflection
        .server_reflection_info(list())
        .await
        .unwrap()
        .into_inner();
    let answer = answers.next().await.unwrap().unwrap();
    let Some(MessageResponse::ListServicesResponse(list_of)) = answer.message_response else {
        panic!("it is a list");
    };
    let names: Vec<_> = list_of
        .service
        .into_iter()
        .map(|service| service.name)
        .collect();
    for name in [
        "wanwu.identity.v1.SessionService",
        "wanwu.billing.v1.EchoService",
        "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection",
    ] {
        assert!(names.iter().any(|one| one == name), "{name} of {names:?}");
    }
    for name in [
        "wanwu.identity.v1.GrantService",
        "wanwu.billing.v1.LeaseService",
    ] {
        assert!(!names.iter().any(|one| one == name), "{name}");
    }
    let mut abroad = ServerReflectionClient::new(world.grpc_from(ABROAD).await.0);
    let status = abroad.server_reflection_info(list()).await.unwrap_err();
    assert_eq!(reason(&status), "NETWORK_NOT_ALLOWED");
}

/// Nobody needs a key for them, and they last as long as their client wants.
#[tokio::test(flavor = "multi_thread")]
async fn streams_of_health_checks_take_no_place_of_calls() {
    let limits = "[limits]\nmax_requests = 1\nmax_open_requests = 1";
    let world = World::start_with(limits).await;
    let (key, _) = world.identity.key(&["chat"]);
    let mut health = HealthClient::new(world.grpc_from(ABROAD).await.0);
    let request = || HealthCheckRequest {
        service: String::new(),
    };
    let watched = health.watch(request()).await.unwrap();
    let status = health.watch(request()).await.unwrap_err();
    assert_eq!(reason(&status), "RATE_LIMITED");
    let answered = world
        .post("/v1/chat/completions")
        .bearer_auth(&key)
        .json(&serde_json::json!({"stream": true, "n": 1}))
        .send();
    assert_eq!(answered.await.unwrap().status(), 200);
    drop(watched);
    wanwu_testkit::wait_for("the place", PATIENCE, || {
        let mut health = health.clone();
        async move { health.watch(request()).await.is_ok() }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn health_says_when_the_edge_is_leaving() {
    let world = World::start().await;
    let mut health = HealthClient::new(world.grpc_from(ABROAD).await.0);
    let request = || HealthCheckRequest {
        service: String::new(),
    };
    assert_eq!(
        health.check(request()).await.unwrap().into_inner().status,
        1
    );
    assert_eq!(world.get("/healthz").send().await.unwrap().status(), 200);
    world.draining.cancel();
    assert_eq!(world.get("/healthz").send().await.unwrap().status(), 503);
    wanwu_testkit::wait_for("NOT_SERVING", PATIENCE, || {
        let mut health = health.clone();
        async move { health.check(request()).await.unwrap().into_inner().status == 2 }
    })
    .await;
}
