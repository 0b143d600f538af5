//! Clients that leave before their answer is whole: the engine stops, whichever way they came.

use integration_tests::journey::{Journey, Way, Ways};
use serde_json::{Value, json};
use tokio::sync::Notify;
use wanwu_proto::inference::v1::{
    CreateEmbeddingRequest, embedding_service_client::EmbeddingServiceClient,
};

use crate::world::{bearing, customer, scripted, stack, truth, until};

const CALLS: &str = "wanwu.inference.v1.CallService";

async fn ways() -> Ways {
    Ways::open(&stack().description().edge).await.unwrap()
}

/// Asks and listens to the end of the answer; tells of each piece of it that came.
async fn listen(ways: &Ways, way: Way, journey: &Journey, body: &Value, heard: &Notify) {
    let mut answer = ways.ask(way, journey.secret(), body).await.unwrap();
    while answer.next().await.unwrap().is_some() {
        heard.notify_one();
    }
}

/// The customer's newest call; null: there was none.
async fn newest(journey: &Journey) -> Value {
    let page = json!({"pageSize": 1});
    let answer = journey.call(&format!("{CALLS}/ListCalls"), page).await;
    answer.unwrap()["calls"][0]["callId"].clone()
}

/// Leaves a call when its engine works on it and what must be `heard` was; waits until the engine has
/// stopped and the call is known to have ended so.
async fn left(
    what: &str,
    journey: &Journey,
    listening: impl Future<Output = ()>,
    heard: Option<&Notify>,
) {
    let before = newest(journey).await;
    let working = async {
        let call = until(&format!("{what}: the engine to work"), async || {
            let call = newest(journey).await;
            let id = call.as_str().filter(|_| call != before)?;
            let works = truth(id).await["ending"] == "running";
            works.then(|| id.to_owned())
        })
        .await;
        if let Some(heard) = heard {
            heard.notified().await;
        }
        call
    };
    // Whoever listens is dropped then, and with it the call.
    let call = tokio::select! {
        () = listening => panic!("{what}: it was answered to the end"),
        call = working => call,
    };
    until(&format!("{what}: the engine to stop"), async || {
        let ending = truth(&call).await["ending"].clone();
        assert_ne!(ending, "finished", "{what}");
        (ending == "cancelled").then_some(())
    })
    .await;
    until(&format!("{what}: the end of the call"), async || {
        let request = json!({"callId": call});
        let answer = journey.call(&format!("{CALLS}/GetCall"), request).await;
        (answer.unwrap()["call"]["outcome"] == "CALL_OUTCOME_CLIENT_GONE").then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_client_that_leaves_stops_the_engine_whichever_way_it_came() {
    let silent = json!({"tokens": 3, "first_delay_ms": 60_000});
    let long = json!({"tokens": 500, "delay_ms": 100});
    let journey = customer().await;
    let ways = ways().await;
    for way in Way::ALL {
        for (moment, stream, script) in [
            ("in a stream", true, &long),
            ("before the head of a stream", true, &silent),
            ("before a whole answer", false, &silent),
        ] {
            let mut body = scripted(script.clone());
            body["stream"] = json!(stream);
            let heard = Notify::new();
            let listening = listen(&ways, way, &journey, &body, &heard);
            let must_be_heard = (*script == long).then_some(&heard);
            let what = format!("{}, {moment}", way.name());
            left(&what, &journey, listening, must_be_heard).await;
        }
    }
}

#[tokio::test]
async fn a_client_that_leaves_before_its_vectors_stops_the_engine() {
    let mut journey = customer().await;
    journey.key_for(&["embedding"]).await.unwrap();
    let ways = ways().await;
    let body = json!({"model": "scripted", "input": "你好",
        "wanwu_script": {"first_delay_ms": 60_000}});

    let url = format!("{}/v1/embeddings", journey.api().base());
    let request = ways
        .http2
        .post(url)
        .bearer_auth(journey.secret())
        .json(&body);
    let listening = async {
        request.send().await.unwrap();
    };
    left("HTTP/2", &journey, listening, None).await;

    let mut embeddings = EmbeddingServiceClient::new(ways.grpc.clone());
    let request = CreateEmbeddingRequest {
        body: body.to_string().into(),
        ..Default::default()
    };
    let request = bearing(request, journey.secret());
    let listening = async {
        embeddings.create_embedding(request).await.unwrap();
    };
    left("gRPC", &journey, listening, None).await;
}
