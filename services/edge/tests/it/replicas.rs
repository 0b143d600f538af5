//! Two replicas of inference-routing behind one edge: which of them gets a call.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use edge::{App, Config, DEFAULTS};
use reqwest::{Client, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio_util::sync::{CancellationToken, DropGuard};
use wanwu_grpc::{Peers, testing::TestAuthority};
use wanwu_ids::Ids;
use wanwu_testkit::{test_clock, wait_for};

use crate::{
    identity::Identity,
    inference::Inference,
    world::{PATIENCE, serve},
};

const IDENTITY: &str = "identity";
const ROUTING: &str = "inference-routing";

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
        let (key, _) = identity.key(&["chat"]);
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
        }
    }

    async fn ask(&self, messages: &[Value]) -> StatusCode {
        let url = format!("http://{}/v1/chat/completions", self.edge);
        let request = self.client.post(url).bearer_auth(&self.key);
        let body = json!({"model": "m", "messages": messages});
        request.json(&body).send().await.unwrap().status()
    }

    /// How many calls each replica got.
    fn counts(&self) -> [usize; 2] {
        self.replicas
            .each_ref()
            .map(|replica| replica.requests.lock().len())
    }
}

fn user(text: &str) -> Value {
    json!({"role": "user", "content": text})
}

#[tokio::test(flavor = "multi_thread")]
async fn every_turn_of_a_conversation_reaches_the_same_replica() {
    const TURNS: usize = 8;
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

#[tokio::test(flavor = "multi_thread")]
async fn different_conversations_reach_both_replicas() {
    let replicas = Replicas::start().await;
    for number in 0..40 {
        let messages = [user(&format!("What is {number} times 7?"))];
        assert_eq!(replicas.ask(&messages).await, 200);
    }
    let [one, other] = replicas.counts();
    assert_eq!(one + other, 40);
    assert!(one > 0 && other > 0, "{one} and {other}");
}
