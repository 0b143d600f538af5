//! The provider of messages: takes what `SendSms` names, or does not.

use std::{collections::HashMap, net::SocketAddr, sync::Arc};

use axum::{
    Json, Router,
    extract::{Query, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::post,
};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// A message that was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    pub phone: String,
    pub template: String,
    pub params: Value,
    /// Our own number of the message.
    pub out_id: String,
}

/// What the provider does with the next messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mood {
    #[default]
    Takes,
    Refuses,
    /// Takes the message and never says so.
    FallsSilent,
}

#[derive(Clone)]
pub struct Sms {
    pub address: SocketAddr,
    state: Arc<Provider>,
}

#[derive(Default)]
struct Provider {
    messages: Mutex<Vec<Message>>,
    mood: Mutex<Mood>,
}

impl Sms {
    pub async fn start() -> Self {
        let state = Arc::new(Provider::default());
        let routes = Router::new()
            .route("/", post(send))
            .with_state(Arc::clone(&state));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, routes).await });
        Self { address, state }
    }

    pub fn becomes(&self, mood: Mood) {
        *self.state.mood.lock() = mood;
    }

    pub fn messages(&self) -> Vec<Message> {
        self.state.messages.lock().clone()
    }

    /// The digits of the last code that was sent to a number.
    pub fn code(&self, phone: &str) -> String {
        let messages = self.messages();
        let of_number = |message: &&Message| message.phone == phone;
        let last = messages.iter().rev().find(of_number).unwrap();
        last.params["code"].as_str().unwrap().to_owned()
    }
}

async fn send(
    State(provider): State<Arc<Provider>>,
    Query(query): Query<HashMap<String, String>>,
) -> Response {
    let mood = *provider.mood.lock();
    if mood == Mood::Refuses {
        let refusal = json!({"Code": "isv.BUSINESS_LIMIT_CONTROL", "Message": "no"});
        return (StatusCode::OK, Json(refusal)).into_response();
    }
    let value = |name: &str| query.get(name).cloned().unwrap_or_default();
    provider.messages.lock().push(Message {
        phone: value("PhoneNumbers"),
        template: value("TemplateCode"),
        params: serde_json::from_str(&value("TemplateParam")).unwrap(),
        out_id: value("OutId"),
    });
    if mood == Mood::FallsSilent {
        std::future::pending::<()>().await;
    }
    Json(json!({"Code": "OK", "BizId": "1"})).into_response()
}
