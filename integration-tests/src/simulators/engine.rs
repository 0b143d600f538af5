//! A scripted model engine: OpenAI-compatible, with settable delays, failures and cuts, and a record
//! of what it sent for each call (`x-request-id`).
//!
//! The script of a call is in its body, in the field `wanwu_script`; a platform that passes unknown
//! fields through passes it too. For one that does not, it may be JSON in the field `user`. The whole engine can be made [ill](Illness), at an address of its own.

mod batch;
mod call;
mod illness;
mod listener;
mod prefix_cache;
mod shape;
mod stream;
mod truth;
mod vectors;

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::{
    Json, Router,
    body::{Body, Bytes},
    extract::{DefaultBodyLimit, Query, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post, put},
};
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::watch};

use super::faults::{Faults, Kind};
use batch::Batch;
pub use batch::Batched;
pub use call::Script;
use call::{Call, prompt_text, prompt_tokens};
pub use illness::Illness;
use illness::Refusal;
use listener::Connections;
use prefix_cache::PrefixCache;
use shape::Shape;
use stream::Frames;
use truth::{Ending, Record, Truth};

struct Engine {
    faults: Faults,
    truth: Truth,
    illness: watch::Sender<Illness>,
    /// Calls that came, answered or not.
    calls: AtomicU64,
    connections: Arc<Connections>,
    prefixes: Mutex<PrefixCache>,
    /// Calls that run at the same time at most.
    room: AtomicU64,
    batch: Batch,
}

const TEXT: &str = "万物皆有其名，名正则言顺，言顺则事成。";
/// Blocks of prompts that an engine keeps.
const BLOCKS: usize = 10_000;

/// Serves an engine until SIGTERM; `control` answers `/_truth`, `/_faults`, `/_illness` and `/_room` whatever
/// ails the engine.
///
/// # Errors
/// When an address cannot be bound.
pub async fn serve(listen: SocketAddr, control: Option<SocketAddr>) -> anyhow::Result<()> {
    let engine = Arc::new(Engine {
        faults: Faults::default(),
        truth: Truth::default(),
        illness: watch::Sender::default(),
        calls: AtomicU64::new(0),
        connections: Arc::default(),
        prefixes: Mutex::new(PrefixCache::new(BLOCKS)),
        room: AtomicU64::new(u64::MAX),
        batch: Batch::new(BLOCKS),
    });
    let listener = TcpListener::bind(listen).await?;
    let illness = engine.illness.subscribe();
    let serving = listener::accept(
        listener,
        routes(&engine),
        illness,
        engine.connections.clone(),
    );
    let controlling = async {
        match control {
            Some(address) => super::serve(address, controls(&engine)).await,
            None => std::future::pending().await,
        }
    };
    let mut stop = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::select! {
        served = serving => Ok(served?),
        controlled = controlling => controlled,
        _ = stop.recv() => Ok(()),
    }
}

fn routes(engine: &Arc<Engine>) -> Router {
    Router::new()
        .route("/v1/chat/completions", post(chat))
        .route("/v1/completions", post(complete))
        .route("/v1/responses", post(respond))
        .route("/v1/embeddings", post(embed))
        .route("/v1/models", get(models))
        .route("/health", get(|| async { StatusCode::OK }))
        .layer(DefaultBodyLimit::max(16 << 20))
        .with_state(Arc::clone(engine))
        .merge(controls(engine))
}

fn controls(engine: &Arc<Engine>) -> Router {
    let fall_ill = |State(engine): State<Arc<Engine>>, Json(illness): Json<Illness>| async move {
        engine.illness.send_replace(illness);
        StatusCode::NO_CONTENT
    };
    let forget = |State(engine): State<Arc<Engine>>, Json(kept): Json<Kept>| async move {
        *engine.prefixes.lock() = PrefixCache::new(kept.blocks);
        engine.batch.keep(kept.blocks);
        StatusCode::NO_CONTENT
    };
    let make_room = |State(engine): State<Arc<Engine>>, Json(room): Json<Room>| async move {
        engine.room.store(room.calls, Ordering::Relaxed);
        StatusCode::NO_CONTENT
    };
    Router::new()
        .route("/_truth", get(truth))
        .route("/_illness", put(fall_ill))
        .route("/_prefixes", put(forget))
        .route("/_room", put(make_room))
        .with_state(Arc::clone(engine))
        .merge(engine.faults.routes())
}

async fn models() -> Json<Value> {
    Json(json!({"object": "list", "data": [{"id": "scripted", "object": "model"}]}))
}

/// How many blocks of prompts are kept from now on, beginning with none, and how many calls that run together
/// can hold.
#[derive(Deserialize)]
struct Kept {
    blocks: usize,
}

/// How many calls run at the same time from now on. What is more is refused, as servers of models do that
/// have a limit; calls that wait inside for their turn are not played.
#[derive(Deserialize)]
struct Room {
    calls: u64,
}

#[derive(Deserialize)]
struct Asked {
    call: Option<String>,
    /// Only the counts.
    #[serde(default)]
    brief: bool,
}

async fn truth(State(engine): State<Arc<Engine>>, Query(asked): Query<Asked>) -> Json<Value> {
    let mut shown = match asked.brief {
        true => json!({}),
        false => engine.truth.show(asked.call.as_deref()),
    };
    if asked.call.is_none() {
        let prefixes = engine.prefixes.lock();
        shown["engine"] = json!({
            "came": engine.calls.load(Ordering::Relaxed),
            "most_at_once": engine.truth.most_at_once(),
            "connections": engine.connections.taken.load(Ordering::Relaxed),
            "refused_connections": engine.connections.refused.load(Ordering::Relaxed),
            "swallowed_calls": engine.connections.swallowed.load(Ordering::Relaxed),
            "blocks_found": prefixes.found,
            "blocks": prefixes.all,
        });
    }
    Json(shown)
}

fn error(status: StatusCode, message: &str, kind: &str) -> Response {
    let error = json!({"error": {"message": message, "type": kind}});
    (status, Json(error)).into_response()
}

/// 429, without a time to come again.
fn busy(message: &str) -> Response {
    error(StatusCode::TOO_MANY_REQUESTS, message, "rate_limit_error")
}

async fn chat(engine: State<Arc<Engine>>, headers: HeaderMap, body: Bytes) -> Response {
    answer(Shape::Chat, engine, headers, body).await
}

async fn complete(engine: State<Arc<Engine>>, headers: HeaderMap, body: Bytes) -> Response {
    answer(Shape::Completions, engine, headers, body).await
}

async fn respond(engine: State<Arc<Engine>>, headers: HeaderMap, body: Bytes) -> Response {
    answer(Shape::Responses, engine, headers, body).await
}

async fn embed(State(engine): State<Arc<Engine>>, headers: HeaderMap, body: Bytes) -> Response {
    let (call, mut record) = match engine.take("embeddings", &headers, &body).await {
        Ok(taken) => taken,
        Err(refused) => return refused,
    };
    tokio::time::sleep(Duration::from_millis(call.wanwu_script.first_delay_ms)).await;
    let format = call.encoding_format.as_deref().unwrap_or("float");
    let mut answer = vectors::answer(call.asked(), format);
    if !call.wanwu_script.no_usage {
        let tokens = record.prompt_tokens();
        answer["usage"] = json!({"prompt_tokens": tokens, "total_tokens": tokens});
    }
    record.end(Ending::Finished);
    Json(answer).into_response()
}

impl Engine {
    /// Takes a call, or refuses it as its script, an illness or a fault of `route` wants.
    async fn take(
        &self,
        route: &str,
        headers: &HeaderMap,
        body: &Bytes,
    ) -> Result<(Call, Record), Response> {
        let n = self.calls.fetch_add(1, Ordering::Relaxed);
        self.faults.delay(route).await;
        if self.faults.take(route, Kind::Refuse).is_some() {
            return Err(StatusCode::SERVICE_UNAVAILABLE.into_response());
        }
        let mut call = Call::read(body).map_err(|refused| {
            let status = StatusCode::BAD_REQUEST;
            error(status, &refused.to_string(), "invalid_request_error")
        })?;
        let illness = *self.illness.borrow();
        match illness.afflict(&mut call.wanwu_script, n) {
            Ok(()) => {}
            Err(Refusal::Error) => {
                let status = StatusCode::INTERNAL_SERVER_ERROR;
                return Err(error(status, "ill", "server_error"));
            }
            Err(Refusal::Busy) => {
                let to_come_again = [(header::RETRY_AFTER, "1")];
                return Err((to_come_again, busy("ill")).into_response());
            }
        }
        let mut prompt = String::new();
        prompt_text(call.asked(), &mut prompt);
        let [all, new] = self.prefixes.lock().take(&prompt);
        if let Some(batched) = call.wanwu_script.batched {
            call.running = Some(self.batch.enter(batched, all, new).await);
        }
        if let Some(status) = call.wanwu_script.status {
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            return Err(error(status, "as scripted", "scripted"));
        }
        let id = headers
            .get("x-request-id")
            .and_then(|id| id.to_str().ok())
            .unwrap_or_default();
        let room = self.room.load(Ordering::Relaxed);
        let tokens = prompt_tokens(call.asked());
        let record = self.truth.begin(id, tokens, body, room);
        let record = record.ok_or_else(|| busy("full"))?;
        Ok((call, record))
    }
}

async fn answer(
    shape: Shape,
    State(engine): State<Arc<Engine>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let (call, record) = match engine.take(shape.name(), &headers, &body).await {
        Ok(taken) => taken,
        Err(refused) => return refused,
    };
    let script = &call.wanwu_script;
    let text: Vec<String> = match &script.text {
        Some(parts) => parts.clone(),
        None => TEXT
            .chars()
            .cycle()
            .take(script.tokens as usize)
            .map(String::from)
            .collect(),
    };
    let limit = call.max_tokens.or(call.max_output_tokens);
    let limit = limit.map_or(usize::MAX, |limit| limit as usize);
    let length = text.len().min(limit);
    let finish = if length < text.len() {
        "length"
    } else {
        "stop"
    };
    if call.stream {
        let pieces = script.pieces;
        let frames = Frames::new(shape, &text[..length], finish, call, record).into_stream();
        let answer = match pieces {
            Some(pieces) => Body::from_stream(pieces.write(frames)),
            None => Body::from_stream(frames),
        };
        return ([("content-type", "text/event-stream")], answer).into_response();
    }
    whole(shape, &text[..length], finish, call, record).await
}

async fn whole(
    shape: Shape,
    text: &[String],
    finish: &str,
    call: Call,
    mut record: Record,
) -> Response {
    let script = &call.wanwu_script;
    let tokens = text.len() as u64;
    tokio::time::sleep(Duration::from_millis(script.first_delay_ms)).await;
    tokio::time::sleep(Duration::from_millis(script.delay_ms * tokens)).await;
    if let Some(mut running) = call.running {
        for index in 0..text.len() {
            running.frame(index, text.len()).await;
        }
    }
    if script.hang_after.is_some() {
        std::future::pending::<()>().await;
    }
    if script.cut_after.is_some() {
        record.end(Ending::Cut);
        return StatusCode::BAD_GATEWAY.into_response();
    }
    let mut answer = shape.whole(&text.concat(), finish);
    if !script.no_usage {
        answer["usage"] = shape.usage(script, record.prompt_tokens(), tokens);
    }
    record.sent(tokens);
    record.end(Ending::Finished);
    Json(answer).into_response()
}
