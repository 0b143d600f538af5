//! A scripted model engine: OpenAI-compatible, with settable delays, failures and cuts, and a record
//! of what it sent for each call (`x-request-id`).
//!
//! The script of a call is in its body, in the field `wanwu_script`; a platform that passes unknown
//! fields through passes it too.

mod stream;
mod truth;

use std::{sync::Arc, time::Duration};

use axum::{
    Json, Router,
    body::{Body, Bytes},
    extract::{DefaultBodyLimit, Query, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::faults::{Faults, Kind};
use stream::Frames;
use truth::{Ending, Record, Truth};

/// What the engine does for one call.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Script {
    /// Tokens of the answer; each is one chunk.
    pub tokens: u32,
    /// Before each token.
    pub delay_ms: u64,
    /// Before the first token.
    pub first_delay_ms: u64,
    /// The connection breaks after so many tokens.
    pub cut_after: Option<u32>,
    /// Nothing comes any more after so many tokens.
    pub hang_after: Option<u32>,
    /// Another HTTP status than 200.
    pub status: Option<u16>,
    /// No usage at all.
    pub no_usage: bool,
    /// The answer in parts, in place of the usual text; each part is one token. In parts, so that a
    /// screen of the request does not see what the answer will be.
    pub text: Option<Vec<String>>,
}

impl Default for Script {
    fn default() -> Self {
        Self {
            tokens: 16,
            delay_ms: 0,
            first_delay_ms: 0,
            cut_after: None,
            hang_after: None,
            status: None,
            no_usage: false,
            text: None,
        }
    }
}

#[derive(Deserialize)]
struct Call {
    #[serde(default)]
    stream: bool,
    #[serde(default)]
    stream_options: StreamOptions,
    #[serde(default)]
    max_tokens: Option<u32>,
    #[serde(default)]
    messages: Value,
    #[serde(default)]
    wanwu_script: Script,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(default)]
struct StreamOptions {
    include_usage: bool,
    continuous_usage_stats: bool,
}

struct Engine {
    faults: Faults,
    truth: Truth,
}

const TEXT: &str = "万物皆有其名，名正则言顺，言顺则事成。";

/// The simulator.
pub fn routes() -> Router {
    let faults = Faults::default();
    let engine = Arc::new(Engine {
        faults: faults.clone(),
        truth: Truth::default(),
    });
    Router::new()
        .route("/v1/chat/completions", post(chat))
        .route("/v1/models", get(models))
        .route("/health", get(|| async { StatusCode::OK }))
        .route("/_truth", get(truth))
        .layer(DefaultBodyLimit::max(16 << 20))
        .with_state(engine)
        .merge(faults.routes())
}

async fn models() -> Json<Value> {
    Json(json!({"object": "list", "data": [{"id": "scripted", "object": "model"}]}))
}

#[derive(Deserialize)]
struct Asked {
    call: Option<String>,
}

async fn truth(State(engine): State<Arc<Engine>>, Query(asked): Query<Asked>) -> Json<Value> {
    Json(engine.truth.show(asked.call.as_deref()))
}

/// Tokens of a prompt: characters of its texts, which anybody can count.
fn prompt_tokens(messages: &Value) -> u64 {
    match messages {
        Value::String(text) => text.chars().count() as u64,
        Value::Array(parts) => parts.iter().map(prompt_tokens).sum(),
        Value::Object(fields) => ["content", "text"]
            .iter()
            .filter_map(|name| fields.get(*name))
            .map(prompt_tokens)
            .sum(),
        _ => 0,
    }
}

async fn chat(State(engine): State<Arc<Engine>>, headers: HeaderMap, body: Bytes) -> Response {
    engine.faults.delay("chat").await;
    if engine.faults.take("chat", Kind::Refuse).is_some() {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    let call: Call = match serde_json::from_slice(&body) {
        Ok(call) => call,
        Err(error) => {
            let error =
                json!({"error": {"message": error.to_string(), "type": "invalid_request_error"}});
            return (StatusCode::BAD_REQUEST, Json(error)).into_response();
        }
    };
    let id = headers
        .get("x-request-id")
        .and_then(|id| id.to_str().ok())
        .unwrap_or_default();
    let script = &call.wanwu_script;
    if let Some(status) = script.status {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let error = json!({"error": {"message": "as scripted", "type": "scripted"}});
        return (status, Json(error)).into_response();
    }
    let text: Vec<String> = match &script.text {
        Some(parts) => parts.clone(),
        None => TEXT
            .chars()
            .cycle()
            .take(script.tokens as usize)
            .map(String::from)
            .collect(),
    };
    let limit = call.max_tokens.map_or(usize::MAX, |limit| limit as usize);
    let length = text.len().min(limit);
    let finish = if length < text.len() {
        "length"
    } else {
        "stop"
    };
    let record = engine.truth.begin(id, prompt_tokens(&call.messages), &body);
    if call.stream {
        let frames = Frames::new(&text[..length], finish, &call, record);
        let answer = Body::from_stream(frames.into_stream());
        return ([("content-type", "text/event-stream")], answer).into_response();
    }
    whole(&text[..length], finish, &call, record).await
}

async fn whole(text: &[String], finish: &str, call: &Call, mut record: Record) -> Response {
    let script = &call.wanwu_script;
    let tokens = text.len() as u64;
    tokio::time::sleep(Duration::from_millis(script.first_delay_ms)).await;
    tokio::time::sleep(Duration::from_millis(script.delay_ms * tokens)).await;
    if script.hang_after.is_some() {
        std::future::pending::<()>().await;
    }
    if script.cut_after.is_some() {
        record.end(Ending::Cut);
        return StatusCode::BAD_GATEWAY.into_response();
    }
    let mut answer = json!({
        "id": "chatcmpl-scripted",
        "object": "chat.completion",
        "created": 1_764_000_000,
        "model": "scripted",
        "choices": [{
            "index": 0,
            "message": {"role": "assistant", "content": text.concat()},
            "finish_reason": finish,
        }],
    });
    if !script.no_usage {
        answer["usage"] = stream::usage(record.prompt_tokens(), tokens);
    }
    record.sent(tokens);
    record.end(Ending::Finished);
    Json(answer).into_response()
}
