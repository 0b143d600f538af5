//! A model engine that does what the request's field `wanwu_script` says, and remembers.

use std::{
    collections::HashMap,
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::State,
    http::{HeaderMap, StatusCode, Uri},
    response::{IntoResponse, Response},
    routing::{get, post},
    serve::ListenerExt,
};
use futures::stream;
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinHandle, time::sleep};
use wanwu_testkit::Pieces;

/// An engine.
pub struct FakeEngine {
    pub url: String,
    truth: Truth,
    connections: Arc<AtomicUsize>,
    /// What `/metrics` says.
    pub metrics: Arc<Mutex<String>>,
    server: JoinHandle<()>,
}

/// What the engine knows, by call.
type Truth = Arc<Mutex<HashMap<String, Seen>>>;

/// What the engine knows of one call.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    pub path: String,
    pub body: Bytes,
    pub sent: u64,
    pub cancelled: bool,
    pub times: u32,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Script {
    tokens: u64,
    /// Bytes that each token of a stream is longer.
    padding: usize,
    delay_ms: u64,
    first_delay_ms: u64,
    cut_after: Option<u64>,
    hang_after: Option<u64>,
    status: Option<u16>,
    no_usage: bool,
    /// Tokens of the prompt that were in its cache.
    cached: Option<u64>,
    /// Tokens of the answer that were reasoning.
    reasoning: Option<u64>,
    /// Sent a character at a time; in parts, so that the screen does not see it in the request.
    text: Option<Vec<String>>,
    /// Sent as they are: the events of a stream, or the whole answer.
    verbatim: Option<Vec<String>>,
    /// How the events of a stream are written; absent: each in a chunk of its own, and `verbatim` in one.
    pieces: Option<Pieces>,
}

/// What a prompt costs here.
pub const PROMPT_TOKENS: u64 = 9;

impl FakeEngine {
    pub async fn start() -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").await.unwrap())
    }

    pub fn on(listener: TcpListener) -> Self {
        let truth = Truth::default();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new()
            .route("/health", get(|| async { "ok" }))
            .route("/v1/chat/completions", post(complete))
            .route("/v1/completions", post(complete))
            .route("/v1/responses", post(complete))
            .route("/v1/embeddings", post(complete))
            .with_state(truth.clone());
        let metrics = Arc::<Mutex<String>>::default();
        let said = metrics.clone();
        let router = router.route("/metrics", get(|| async move { said.lock().clone() }));
        let connections = Arc::new(AtomicUsize::new(0));
        let count = connections.clone();
        let listener = listener.tap_io(move |stream| {
            count.fetch_add(1, Ordering::Relaxed);
            // Each write leaves at once, however small it is.
            stream.set_nodelay(true).ok();
        });
        let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self {
            url,
            truth,
            connections,
            metrics,
            server,
        }
    }

    pub fn seen(&self, call: &str) -> Option<Seen> {
        self.truth.lock().get(call).cloned()
    }

    /// How many calls it saw.
    pub fn calls(&self) -> usize {
        self.truth.lock().len()
    }

    /// How many connections it took.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// The only call that it saw.
    pub fn only(&self) -> Seen {
        let truth = self.truth.lock();
        assert_eq!(truth.len(), 1);
        truth.values().next().unwrap().clone()
    }
}

impl Drop for FakeEngine {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// Notes that a stream was dropped before its end.
struct Watch {
    call: String,
    truth: Truth,
    done: bool,
}

impl Watch {
    fn finish(&mut self) {
        self.done = true;
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Some(seen) = self.truth.lock().get_mut(&self.call) {
            seen.cancelled = !self.done;
        }
    }
}

async fn complete(
    State(truth): State<Truth>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let call = headers["x-request-id"].to_str().unwrap().to_owned();
    let request: Value = serde_json::from_slice(&body).unwrap();
    let script: Script =
        serde_json::from_value(request["wanwu_script"].clone()).unwrap_or_default();
    {
        let mut truth = truth.lock();
        let seen = truth.entry(call.clone()).or_default();
        seen.path = uri.path().to_owned();
        seen.body = body;
        seen.times += 1;
    }
    if let Some(status) = script.status {
        let error = json!({"error": {"message": "the engine says no"}});
        return (StatusCode::from_u16(status).unwrap(), error.to_string()).into_response();
    }
    let mut watch = Watch {
        call,
        truth,
        done: false,
    };
    if let Some(documents) = &script.verbatim {
        watch.finish();
        return verbatim(documents, request["stream"] == true, script.pieces);
    }
    if request["stream"] != true {
        return whole(script, watch).await.into_response();
    }
    let pieces = script.pieces;
    let events = answer(request, script, watch);
    let body = match pieces {
        Some(pieces) => Body::from_stream(pieces.write(events)),
        None => Body::from_stream(events),
    };
    body.into_response()
}

/// What is sent as it is; events with a type have a line with it, as the responses API has.
fn verbatim(documents: &[String], is_stream: bool, pieces: Option<Pieces>) -> Response {
    if !is_stream {
        return documents.concat().into_response();
    }
    let event = |json: &String| {
        let parsed: Value = serde_json::from_str(json).unwrap_or_default();
        match parsed["type"].as_str() {
            Some(name) => format!("event: {name}\ndata: {json}\n\n"),
            None => format!("data: {json}\n\n"),
        }
    };
    let events: Vec<String> = documents.iter().map(event).collect();
    let Some(pieces) = pieces else {
        return events.concat().into_response();
    };
    let events = events.into_iter().map(Bytes::from);
    let events = stream::iter(events.map(Ok::<_, Infallible>));
    Body::from_stream(pieces.write(events)).into_response()
}

async fn whole(script: Script, mut watch: Watch) -> String {
    sleep(Duration::from_millis(
        script.first_delay_ms + script.delay_ms * script.tokens,
    ))
    .await;
    let text = script.text.as_ref().map_or_else(
        || "字".repeat(script.tokens as usize),
        |parts| parts.concat(),
    );
    watch.finish();
    let mut answer = json!({
        "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "engine-test",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text},
            "finish_reason": "stop"}],
    });
    if !script.no_usage {
        answer["usage"] = usage(&script, script.tokens);
    }
    answer.to_string()
}

fn usage(script: &Script, output: u64) -> Value {
    let mut usage = json!({"prompt_tokens": PROMPT_TOKENS, "completion_tokens": output,
        "total_tokens": PROMPT_TOKENS + output});
    if let Some(cached) = script.cached {
        usage["prompt_tokens_details"] = json!({"cached_tokens": cached});
    }
    if let Some(reasoning) = script.reasoning {
        // So far: a running usage tells of no more than there is.
        usage["completion_tokens_details"] = json!({"reasoning_tokens": reasoning.min(output)});
    }
    usage
}

/// The events of a streamed answer.
fn answer(
    request: Value,
    script: Script,
    mut watch: Watch,
) -> impl futures::Stream<Item = Result<Bytes, std::io::Error>> {
    let continuous = request["stream_options"]["continuous_usage_stats"] == true;
    let include = request["stream_options"]["include_usage"] == true && !script.no_usage;
    let pieces: Vec<String> = match &script.text {
        Some(parts) => parts.concat().chars().map(String::from).collect(),
        None => (0..script.tokens).map(|n| format!("词{n} ")).collect(),
    };
    let padding = "x".repeat(script.padding);
    async_stream::stream! {
        sleep(Duration::from_millis(script.first_delay_ms)).await;
        for (at, piece) in pieces.iter().enumerate() {
            let at = at as u64;
            if script.cut_after == Some(at) {
                // What was sent is on its way before the connection breaks.
                sleep(Duration::from_millis(20)).await;
                watch.finish();
                yield Err(std::io::Error::other("cut"));
                return;
            }
            if script.hang_after == Some(at) {
                std::future::pending::<Infallible>().await;
            }
            if at > 0 {
                sleep(Duration::from_millis(script.delay_ms)).await;
            }
            let content = format!("{piece}{padding}");
            let mut chunk = chunk(json!([{"index": 0, "delta": {"content": content},
                "finish_reason": null}]));
            if continuous && include {
                chunk["usage"] = usage(&script, at + 1);
            }
            watch.truth.lock().get_mut(&watch.call).unwrap().sent = at + 1;
            yield Ok(event(&chunk));
        }
        yield Ok(event(&chunk(json!([{"index": 0, "delta": {}, "finish_reason": "stop"}]))));
        if include {
            let mut last = chunk(json!([]));
            last["usage"] = usage(&script, pieces.len() as u64);
            yield Ok(event(&last));
        }
        watch.finish();
        yield Ok(Bytes::from_static(b"data: [DONE]\n\n"));
    }
}

fn chunk(choices: Value) -> Value {
    json!({"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1,
        "model": "engine-test", "choices": choices})
}

fn event(chunk: &Value) -> Bytes {
    Bytes::from(format!("data: {chunk}\n\n"))
}
