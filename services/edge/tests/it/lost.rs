//! Calls whose connection to inference-routing is lost: what came of an answer must not look like all of it.

use std::{
    net::SocketAddr,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use reqwest::RequestBuilder;
use serde_json::{Value, json};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::Notify,
    time::sleep,
};
use tonic::{Code, Request};
use wanwu_proto::inference::v1::{
    CreateChatCompletionRequest, chat_service_client::ChatServiceClient,
};
use wanwu_testkit::wait_for;

use crate::world::{PATIENCE, World, reason};

/// An edge whose connections to inference-routing can be lost.
struct Way {
    world: World,
    key: String,
    lost: Arc<Notify>,
}

impl Way {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let between = listener.local_addr().unwrap();
        let peers = format!("[peers]\ninference-routing = 'https://{between}'");
        let world = World::start_with(&peers).await;
        let lost = Arc::<Notify>::default();
        tokio::spawn(relay(listener, world.routing, lost.clone()));
        let (key, _) = world.identity.key(&["chat"]);
        Self { world, key, lost }
    }

    /// Every connection breaks, whatever is on its way.
    fn lose(&self) {
        self.lost.notify_waiters();
    }

    fn ask(&self, body: &Value) -> RequestBuilder {
        let request = self.world.post("/v1/chat/completions");
        request.bearer_auth(&self.key).json(body)
    }
}

/// Passes connections on as they are, each until it is lost.
async fn relay(listener: TcpListener, to: SocketAddr, lost: Arc<Notify>) {
    loop {
        let (mut edge, _) = listener.accept().await.unwrap();
        let lost = lost.clone();
        tokio::spawn(async move {
            let lost = lost.notified();
            let Ok(mut service) = TcpStream::connect(to).await else {
                return;
            };
            // What is open in the end is closed then.
            tokio::select! {
                _ = copy_bidirectional(&mut edge, &mut service) => {}
                () = lost => {}
            }
        });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_whose_connection_is_lost_ends_with_an_error_and_without_done() {
    let way = Way::start().await;
    // In the middle, and before its first frame.
    for body in [
        json!({"stream": true, "n": 1_000, "delay_ms": 20}),
        json!({"stream": true, "n": 1, "first_delay_ms": 60_000}),
    ] {
        let mut answer = way.ask(&body).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        let first = answer.chunk().await.unwrap().unwrap();
        way.lose();
        let rest = answer.text().await.unwrap();
        let text = String::from_utf8_lossy(&first).into_owned() + &rest;
        let last = text.trim_end().rsplit("\n\n").next().unwrap();
        let error = last.strip_prefix("data: ").unwrap();
        let error: Value = serde_json::from_str(error).unwrap();
        assert_eq!(error["error"]["code"], "unavailable", "{text}");
        assert!(!text.contains("[DONE]"), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_answer_whose_connection_is_lost_is_no_answer() {
    let way = Way::start().await;
    let inference = &way.world.inference;
    // Before anything of it came, and when all of it did but the word that it is all.
    for (asked, (sent, body)) in (1..).zip([
        (0, json!({"answer_after_ms": 60_000})),
        (1, json!({"delay_ms": 60_000})),
    ]) {
        let answer = way.ask(&body).send();
        let lost = async {
            wait_for("the call", PATIENCE, || async {
                let reached = inference.requests.lock().len() == asked;
                reached && inference.sent.load(Ordering::Relaxed) == sent
            })
            .await;
            // What was sent arrives.
            sleep(Duration::from_millis(100)).await;
            way.lose();
        };
        let (answer, ()) = tokio::join!(answer, lost);
        let answer = answer.unwrap();
        assert_eq!(answer.status(), 503, "{body}");
        let error: Value = answer.json().await.unwrap();
        assert_eq!(error["error"]["code"], "unavailable", "{body}");
        // What may have been done is not asked for again.
        assert_eq!(inference.requests.lock().len(), asked, "{body}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn by_grpc_a_connection_that_is_lost_ends_a_stream_with_a_status() {
    let way = Way::start().await;
    let body = json!({"stream": true, "n": 1_000, "delay_ms": 20});
    let mut request = Request::new(CreateChatCompletionRequest {
        body: body.to_string().into(),
        ..CreateChatCompletionRequest::default()
    });
    let key = format!("Bearer {}", way.key).parse().unwrap();
    request.metadata_mut().insert("authorization", key);
    let mut chat = ChatServiceClient::new(way.world.grpc().await.0);
    let answer = chat.create_chat_completion(request).await.unwrap();
    let mut frames = answer.into_inner();
    assert!(frames.message().await.unwrap().is_some());
    way.lose();
    let status = loop {
        match frames.message().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("it ended as if it were whole"),
            Err(status) => break status,
        }
    };
    assert_eq!(status.code(), Code::Unavailable);
    assert_eq!(reason(&status), "UNAVAILABLE");
}
