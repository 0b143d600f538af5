//! Two replicas of inference-routing behind one edge: which of them gets a call.

use std::{
    net::SocketAddr,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use bytes::Bytes;
use edge::{App, Config, DEFAULTS};
use futures::{StreamExt, stream};
use prost::Message;
use reqwest::{Body, Client, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::{
    Request,
    client::Grpc,
    transport::{Channel, Endpoint},
};
use tonic_prost::ProstCodec;
use wanwu_grpc::{Peers, testing::TestAuthority};
use wanwu_ids::Ids;
use wanwu_proto::inference::v1::{
    CreateChatCompletionRequest, CreateChatCompletionResponse,
    chat_service_client::ChatServiceClient,
};
use wanwu_testkit::{test_clock, wait_for};

use crate::{
    identity::Identity,
    inference::Inference,
    world::{PATIENCE, serve},
};

const IDENTITY: &str = "identity";
const ROUTING: &str = "inference-routing";
/// Calls that begin alike, few enough for one replica: of many more than the mean the other gets a part.
const TURNS: usize = 8;

/// An edge with two replicas of inference-routing.
struct Replicas {
    edge: SocketAddr,
    key: String,
    client: Client,
    replicas: [Inference; 2],
    _stop: DropGuard,
}

impl Replicas {
    async fn start() -> Self {
        rustls::crypto::aws_lc_rs::default_provider()
            .install_default()
            .ok();
        let stop = CancellationToken::new();
        let authority = TestAuthority::start().unwrap();
        let identity = Identity::new(&stop);
        let (key, _) = identity.key(&["chat", "embedding"]);
        let replicas = [Inference::default(), Inference::default()];
        let known = serve(&authority, IDENTITY, identity.routes(), &stop).await;
        let one = serve(&authority, ROUTING, replicas[0].routes(), &stop).await;
        let other = serve(&authority, ROUTING, replicas[1].routes(), &stop).await;
        let peers = [
            (IDENTITY, format!("https://{known}")),
            (ROUTING, format!("https://{one},https://{other}")),
        ];

        let defaults: toml::Table = DEFAULTS.parse().unwrap();
        let mut config = Config::deserialize(defaults).unwrap();
        config.grpc.listen = SocketAddr::from(([127, 0, 0, 1], 0));
        config.tls = authority.issue("edge").unwrap();
        config.peers = Peers::new(peers.map(|(service, address)| (service.to_owned(), address)));
        let clock = Arc::new(test_clock());
        let app = App::build(config, clock, Ids::system(), stop.child_token());
        let app = app.await.unwrap();
        let edge = app.address();
        for (_, task) in app.tasks(&stop) {
            tokio::spawn(task);
        }
        let started = Self {
            edge,
            key,
            client: Client::builder().no_proxy().build().unwrap(),
            replicas,
            _stop: stop.drop_guard(),
        };
        started.ready().await;
        started
    }

    /// Waits until both replicas are reached.
    async fn ready(&self) {
        wait_for("both replicas", PATIENCE, || async {
            let question = uuid::Uuid::new_v4().to_string();
            self.ask(&[user(&question)]).await;
            self.counts().iter().all(|count| *count > 0)
        })
        .await;
        // Who joined a little later gets what is its own little by little.
        tokio::time::sleep(Duration::from_secs(1)).await;
        for replica in &self.replicas {
            replica.requests.lock().clear();
            replica.calls.store(0, Ordering::Relaxed);
        }
    }

    async fn ask(&self, messages: &[Value]) -> StatusCode {
        let body = json!({"model": "m", "messages": messages});
        self.post("/v1/chat/completions", &body).await
    }

    async fn post(&self, path: &str, body: &Value) -> StatusCode {
        let url = format!("http://{}{path}", self.edge);
        let request = self.client.post(url).bearer_auth(&self.key);
        request.json(body).send().await.unwrap().status()
    }

    async fn channel(&self) -> Channel {
        let endpoint = Endpoint::from_shared(format!("http://{}", self.edge)).unwrap();
        endpoint.connect().await.unwrap()
    }

    async fn grpc(&self) -> ChatServiceClient<Channel> {
        ChatServiceClient::new(self.channel().await)
    }

    /// A request by gRPC. On the wire it is that of every shape.
    fn request(&self, body: &Value) -> Request<CreateChatCompletionRequest> {
        let mut request = Request::new(message(body));
        let key = format!("Bearer {}", self.key).parse().unwrap();
        request.metadata_mut().insert("authorization", key);
        request
    }

    /// Calls a method of whichever shape by gRPC and reads the answer to its end.
    async fn call(&self, channel: Channel, method: &str, body: &Value) {
        let mut grpc = Grpc::new(channel);
        grpc.ready().await.unwrap();
        let codec =
            ProstCodec::<CreateChatCompletionRequest, CreateChatCompletionResponse>::default();
        let path = method.parse().unwrap();
        let answer = grpc.server_streaming(self.request(body), path, codec).await;
        let frames: Vec<_> = answer.unwrap().into_inner().collect().await;
        assert!(!frames.is_empty() && frames.iter().all(Result::is_ok));
    }

    /// Asks by gRPC and reads the answer to its end.
    async fn ask_by_grpc(&self, mut client: ChatServiceClient<Channel>, body: &Value) {
        let request = self.request(body);
        let answer = client.create_chat_completion(request).await.unwrap();
        let frames: Vec<_> = answer.into_inner().collect().await;
        assert!(!frames.is_empty() && frames.iter().all(Result::is_ok));
    }

    /// What was asked since the last look, of whichever replica.
    fn last(&self) -> CreateChatCompletionRequest {
        let mut asked: Vec<_> = self
            .replicas
            .iter()
            .flat_map(|replica| replica.requests.lock().drain(..).collect::<Vec<_>>())
            .collect();
        asked.pop().expect("somebody was asked").1
    }

    /// How many calls each replica got.
    fn counts(&self) -> [usize; 2] {
        self.replicas
            .each_ref()
            .map(|replica| replica.calls.load(Ordering::Relaxed))
    }
}

fn message(body: &Value) -> CreateChatCompletionRequest {
    CreateChatCompletionRequest {
        body: body.to_string().into(),
        ..CreateChatCompletionRequest::default()
    }
}

fn user(text: &str) -> Value {
    json!({"role": "user", "content": text})
}

#[tokio::test(flavor = "multi_thread")]
async fn every_turn_of_a_conversation_reaches_the_same_replica() {
    let replicas = Replicas::start().await;
    let kind = json!({"role": "system", "content": "Be kind."});
    let mut messages = vec![kind, user("Where does the river begin?")];
    for turn in 0..TURNS {
        assert_eq!(replicas.ask(&messages).await, 200);
        messages.push(json!({"role": "assistant", "content": format!("In the hills, {turn}.")}));
        messages.push(user(&format!("And what comes after {turn}?")));
    }
    let counts = replicas.counts();
    assert!(counts.contains(&TURNS) && counts.contains(&0), "{counts:?}");
}

/// All of these calls, which begin alike, reach one of two replicas, by HTTP and by gRPC.
async fn one_replica_gets(path: &str, method: &str, calls: &[Value]) {
    for by_grpc in [false, true] {
        let replicas = Replicas::start().await;
        let channel = replicas.channel().await;
        for body in calls {
            if by_grpc {
                replicas.call(channel.clone(), method, body).await;
            } else {
                assert_eq!(replicas.post(path, body).await, 200);
            }
        }
        let counts = replicas.counts();
        let one = counts.contains(&calls.len()) && counts.contains(&0);
        assert!(one, "by gRPC {by_grpc}: {counts:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_turn_of_a_response_reaches_the_same_replica() {
    let kind = json!({"role": "developer", "content": "Be kind."});
    let mut input = vec![kind, user("Where does the river begin?")];
    let mut turns = Vec::new();
    for turn in 0..TURNS {
        turns.push(json!({"model": "m", "input": input}));
        input.push(json!({"role": "assistant", "content": format!("In the hills, {turn}.")}));
        input.push(user(&format!("And what comes after {turn}?")));
    }
    let method = "/wanwu.inference.v1.ResponseService/CreateResponse";
    one_replica_gets("/v1/responses", method, &turns).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_completion_of_one_prompt_reaches_the_same_replica() {
    // More than a kibibyte: what follows it does not count.
    let story = "Once upon a time there was a river. ".repeat(40);
    let calls = (0..TURNS).map(|turn| json!({"model": "m", "prompt": format!("{story}{turn}")}));
    let calls: Vec<_> = calls.collect();
    let method = "/wanwu.inference.v1.CompletionService/CreateCompletion";
    one_replica_gets("/v1/completions", method, &calls).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_embedding_of_one_input_reaches_the_same_replica() {
    let call = json!({"model": "m", "input": ["a river", "a hill"]});
    let method = "/wanwu.inference.v1.EmbeddingService/CreateEmbedding";
    one_replica_gets("/v1/embeddings", method, &vec![call; TURNS]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn different_conversations_reach_both_replicas() {
    // So few that one replica would get them all, were they all alike: chance gives one all of them once in
    // 32,768 times.
    const CONVERSATIONS: usize = 2 * TURNS;
    let replicas = Replicas::start().await;
    for number in 0..CONVERSATIONS {
        let messages = [user(&format!("What is {number} times 7?"))];
        assert_eq!(replicas.ask(&messages).await, 200);
    }
    let [one, other] = replicas.counts();
    assert_eq!(one + other, CONVERSATIONS);
    assert!(one > 0 && other > 0, "{one} and {other}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conversation_by_grpc_reaches_the_replica_that_it_reaches_by_http() {
    // Twenty calls in all: chance may give one replica each of them, and that is not too many.
    const CONVERSATIONS: usize = 5;
    const TURNS: usize = 4;
    let replicas = Replicas::start().await;
    let grpc = replicas.grpc().await;
    for number in 0..CONVERSATIONS {
        let mut messages = vec![user(&format!("Where does river {number} begin?"))];
        for turn in 0..TURNS {
            if turn % 2 == 0 {
                let body = json!({"messages": messages, "model": "m"});
                replicas.ask_by_grpc(grpc.clone(), &body).await;
            } else {
                assert_eq!(replicas.ask(&messages).await, 200);
            }
            messages.push(json!({"role": "assistant", "content": format!("Far, {turn}.")}));
            messages.push(user(&format!("And what comes after {turn}?")));
        }
        let counts = replicas.counts();
        let whole = counts.iter().all(|count| count.is_multiple_of(TURNS));
        assert!(whole, "{number}: {counts:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_by_grpc_passes_whole_whatever_was_read_of_it() {
    let replicas = Replicas::start().await;
    let client = replicas.grpc().await;
    let long: String = (0..200_000).map(|number| format!("{number} ")).collect();
    for text in ["short", &long] {
        let body = json!({"messages": [user(text)], "model": "m"});
        replicas.ask_by_grpc(client.clone(), &body).await;
        let asked = replicas.last();
        assert!(asked.body == body.to_string(), "{} bytes", asked.body.len());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_by_grpc_passes_whole_in_whatever_pieces_it_comes() {
    let replicas = Replicas::start().await;
    let client = Client::builder().no_proxy().http2_prior_knowledge();
    let client = client.build().unwrap();
    let url = format!(
        "http://{}/wanwu.inference.v1.ChatService/CreateChatCompletion",
        replicas.edge
    );
    let message = message(&json!({"messages": [user("In pieces.")], "model": "m"}));
    let encoded = message.encode_to_vec();
    let mut framed = vec![0];
    framed.extend(u32::try_from(encoded.len()).unwrap().to_be_bytes());
    framed.extend(encoded);
    for size in [1, 4, 5, 9, 50] {
        let pieces: Vec<_> = framed.chunks(size).map(Bytes::copy_from_slice).collect();
        let pieces = stream::iter(pieces).then(|piece| async {
            tokio::time::sleep(Duration::from_millis(1)).await;
            Ok::<_, std::io::Error>(piece)
        });
        let request = client.post(&url).bearer_auth(&replicas.key);
        let request = request.header("content-type", "application/grpc");
        let answer = request.header("te", "trailers");
        let answer = answer.body(Body::wrap_stream(pieces)).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{size}");
        assert!(!answer.bytes().await.unwrap().is_empty(), "{size}");
        assert_eq!(replicas.last(), message, "{size}");
    }
}
