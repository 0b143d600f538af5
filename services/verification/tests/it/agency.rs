//! The agency's side of its protocol: it verifies what it is asked and signs what it answers.

use std::{collections::HashMap, net::SocketAddr, sync::Arc};

use aws_lc_rs::hmac;
use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::post,
};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use wanwu_clock::{Clock, TestClock};

pub const APP: &str = "wanwu";
pub const SECRET: &str = "the agency's secret";

/// How the agency answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mood {
    #[default]
    Answers,
    /// Decides and never says so.
    FallsSilent,
    Refuses,
    /// Signs with another key.
    Forges,
    /// Signs an old answer.
    Replays,
    /// Answers another check.
    Confuses,
    /// Signs what is no answer.
    Babbles,
    /// Signs a result that the protocol does not have.
    Invents,
}

#[derive(Clone)]
pub struct Agency {
    pub address: SocketAddr,
    truth: Arc<Mutex<Truth>>,
    clock: TestClock,
}

#[derive(Default)]
struct Truth {
    mood: Mood,
    persons: HashMap<String, String>,
    /// How often each check was asked about.
    asked: HashMap<String, u32>,
}

impl Agency {
    pub async fn start(clock: TestClock) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let agency = Self {
            address: listener.local_addr().unwrap(),
            truth: Arc::default(),
            clock,
        };
        let routes = Router::new().route("/v1/identity-checks", post(check));
        let routes = routes.with_state(agency.clone());
        tokio::spawn(async move { axum::serve(listener, routes).await });
        agency
    }

    pub fn becomes(&self, mood: Mood) {
        self.truth.lock().mood = mood;
    }

    /// The agency knows this person.
    pub fn knows(&self, name: &str, id_number: &str) {
        let mut truth = self.truth.lock();
        truth.persons.insert(id_number.to_owned(), name.to_owned());
    }

    /// How many checks it was asked about, and how often in all.
    pub fn asked(&self) -> (usize, u32) {
        let truth = self.truth.lock();
        (truth.asked.len(), truth.asked.values().sum())
    }
}

async fn check(State(agency): State<Agency>, headers: HeaderMap, body: Bytes) -> Response {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let timestamp = header("x-agency-timestamp").unwrap();
    let signature = hex::decode(header("x-agency-signature").unwrap()).unwrap();
    let message = [timestamp.as_bytes(), b"\n", &body].concat();
    let genuine = hmac::verify(&key(SECRET), &message, &signature).is_ok();
    if !genuine || header("x-agency-app") != Some(APP) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    let question: Value = serde_json::from_slice(&body).unwrap();
    let text = |field: &str| question[field].as_str().unwrap().to_owned();
    let id = text("request_id");
    let (mood, known) = {
        let mut truth = agency.truth.lock();
        *truth.asked.entry(id.clone()).or_default() += 1;
        (truth.mood, truth.persons.get(&text("id_number")).cloned())
    };
    let result = match known {
        Some(name) if name == text("name") => "match",
        Some(_) => "mismatch",
        None => "not_found",
    };
    let now = agency.clock.now().timestamp();
    let answer = json!({"request_id": id, "result": result});
    match mood {
        Mood::Answers => signed(SECRET, now, &answer.to_string()),
        Mood::FallsSilent => std::future::pending().await,
        Mood::Refuses => StatusCode::SERVICE_UNAVAILABLE.into_response(),
        Mood::Forges => signed("somebody else's", now, &answer.to_string()),
        Mood::Replays => signed(SECRET, now - 3600, &answer.to_string()),
        Mood::Confuses => {
            let other = json!({"request_id": "another", "result": "match"});
            signed(SECRET, now, &other.to_string())
        }
        Mood::Babbles => signed(SECRET, now, "<html>match</html>"),
        Mood::Invents => {
            let answer = json!({"request_id": id, "result": "perhaps"});
            signed(SECRET, now, &answer.to_string())
        }
    }
}

fn signed(secret: &str, at: i64, answer: &str) -> Response {
    let timestamp = at.to_string();
    let message = [timestamp.as_bytes(), b"\n", answer.as_bytes()].concat();
    let signature = hex::encode(hmac::sign(&key(secret), &message));
    let headers = [
        ("x-agency-timestamp", timestamp),
        ("x-agency-signature", signature),
    ];
    (headers, answer.to_owned()).into_response()
}

fn key(secret: &str) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes())
}
