//! Another engine, or another model, answers where the first that is asked does not begin to: of every
//! shape, streamed and whole.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::get,
};
use chrono::Utc;
use futures::{StreamExt, stream};
use inference_routing::{
    commands::routes::put_route,
    config::{EngineAddress, Sections},
    domain::{
        placement::Policy,
        route::{Route, Target},
        shape::Shape,
    },
};
use serde_json::{Value, json};
use sqlx::PgPool;
use tokio::{net::TcpListener, task::JoinHandle, time::sleep};

use crate::world::{
    Got, World, all_shapes, billing, config, id,
    rows::{self, CallRow},
    wait_for,
};

/// How an engine fails that says that it is well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// It answers 500.
    Unable,
    /// Its connection breaks: of a stream before the first text, of a whole answer in the middle.
    Breaks,
    /// It ends there, as an answer does that is whole.
    Ends,
    /// The connection of a stream breaks behind the first text.
    BreaksLater,
}

/// An engine that fails with every call.
struct Failing {
    url: String,
    asked: Arc<AtomicUsize>,
    server: JoinHandle<()>,
}

impl Failing {
    async fn start(fault: Fault) -> Self {
        let asked = Arc::<AtomicUsize>::default();
        let count = asked.clone();
        let answer = move |body: Bytes| {
            count.fetch_add(1, Ordering::Relaxed);
            async move { fail(fault, &body) }
        };
        let router = Router::new()
            .route("/health", get(|| async {}))
            .fallback(answer);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, asked, server }
    }

    /// Calls that reached it.
    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }

    fn addresses(&self) -> Vec<EngineAddress> {
        config(&[&self.url]).models.remove(0).engines
    }
}

impl Drop for Failing {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// Says of what an engine that is well would say as much as the fault lets it.
fn fail(fault: Fault, body: &[u8]) -> Response {
    if fault == Fault::Unable {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    }
    let asked: Value = serde_json::from_slice(body).unwrap();
    let script = &asked["wanwu_script"];
    let says: Vec<String> = serde_json::from_value(script["verbatim"].clone()).unwrap();
    let said = if asked["stream"] == true {
        let text_at = script["text_at"].as_u64().unwrap() as usize;
        let until = text_at + usize::from(fault == Fault::BreaksLater);
        let events = says[..until].iter();
        let events: String = events.map(|json| format!("data: {json}\n\n")).collect();
        events.into_bytes()
    } else {
        let mut whole = says.concat().into_bytes();
        whole.truncate(whole.len() / 2);
        whole
    };
    if fault == Fault::Ends {
        return said.into_response();
    }
    let said = stream::once(async move { Ok::<_, io::Error>(Bytes::from(said)) });
    let breaks = stream::once(async {
        // What was said is on its way before the connection breaks.
        sleep(Duration::from_millis(20)).await;
        Err::<Bytes, _>(io::Error::other("broken"))
    });
    Body::from_stream(said.chain(breaks)).into_response()
}

/// A request, and what an engine that is well says to it.
#[derive(Debug)]
struct Asked {
    shape: Shape,
    stream: bool,
    /// An answer, or the events of a stream.
    says: Vec<String>,
    /// Which of the events has the first text.
    text_at: usize,
}

/// Requests of every shape.
fn requests() -> Vec<Asked> {
    let usage = json!({"prompt_tokens": 5, "completion_tokens": 1, "total_tokens": 6});
    let one = |choice: Value, usage: Value| chunk(json!([choice]), usage);
    let last = chunk(json!([]), usage.clone());
    let message = json!({"index": 0, "message": {"role": "assistant", "content": "好"},
        "finish_reason": "stop"});
    let delta = |delta: Value, finish: Value| {
        let choice = json!({"index": 0, "delta": delta, "finish_reason": finish});
        one(choice, Value::Null)
    };
    let text =
        |text: &str, finish: Value| json!({"index": 0, "text": text, "finish_reason": finish});
    let vector = json!({"object": "embedding", "index": 0, "embedding": [0.5]});
    let vectors = json!({"object": "list", "model": "engine-test", "data": [vector],
        "usage": {"prompt_tokens": 5, "total_tokens": 5}});
    vec![
        whole(Shape::Chat, &one(message, usage.clone())),
        whole(Shape::Completions, &one(text("好", json!("stop")), usage)),
        whole(Shape::Responses, &response("completed")),
        whole(Shape::Embeddings, &vectors),
        streamed(
            Shape::Chat,
            &[
                delta(json!({"role": "assistant", "content": ""}), Value::Null),
                delta(json!({"content": "好"}), Value::Null),
                delta(json!({}), json!("stop")),
                last.clone(),
            ],
            1,
        ),
        streamed(
            Shape::Completions,
            &[
                one(text("", Value::Null), Value::Null),
                one(text("好", Value::Null), Value::Null),
                one(text("", json!("stop")), Value::Null),
                last,
            ],
            1,
        ),
        streamed(Shape::Responses, &events(), 5),
    ]
}

/// An answer of chat or of completions, or a chunk of one.
fn chunk(choices: Value, usage: Value) -> Value {
    json!({"id": "c", "model": "engine-test", "choices": choices, "usage": usage})
}

/// The answer of the responses API; one that is not completed has no text yet.
fn response(status: &str) -> Value {
    let mut response = json!({"id": "r", "object": "response", "status": status,
        "model": "engine-test", "output": []});
    if status == "completed" {
        let text = json!({"type": "output_text", "text": "好", "annotations": []});
        response["output"] = json!([{"type": "message", "content": [text]}]);
        response["usage"] = json!({"input_tokens": 5, "output_tokens": 1, "total_tokens": 6});
    }
    response
}

/// The events of a response, as many before the first text as there are where a model thinks first.
fn events() -> [Value; 7] {
    let of = |kind: &str, at: u32| json!({"type": kind, "output_index": at, "content_index": 0});
    let mut thinks = of("response.output_item.added", 0);
    thinks["item"] = json!({"type": "reasoning", "summary": []});
    let mut begins = of("response.output_item.added", 1);
    begins["item"] = json!({"type": "message", "content": []});
    let mut part = of("response.content_part.added", 1);
    part["part"] = json!({"type": "output_text", "text": ""});
    let mut text = of("response.output_text.delta", 1);
    text["delta"] = json!("好");
    [
        json!({"type": "response.created", "response": response("in_progress")}),
        json!({"type": "response.in_progress", "response": response("in_progress")}),
        thinks,
        begins,
        part,
        text,
        json!({"type": "response.completed", "response": response("completed")}),
    ]
}

fn whole(shape: Shape, answer: &Value) -> Asked {
    Asked {
        shape,
        stream: false,
        says: vec![answer.to_string()],
        text_at: 0,
    }
}

fn streamed(shape: Shape, events: &[Value], text_at: usize) -> Asked {
    let mut says: Vec<String> = events.iter().map(Value::to_string).collect();
    if !shape.has_typed_events() {
        says.push("[DONE]".to_owned());
    }
    Asked {
        shape,
        stream: true,
        says,
        text_at,
    }
}

impl Asked {
    /// The model that answers its shape.
    const fn model(&self) -> &'static str {
        match self.shape {
            Shape::Embeddings => "vectors",
            _ => "test",
        }
    }

    /// Asks it of a name.
    async fn call(&self, world: &World, name: &str) -> Got {
        let script = json!({"verbatim": self.says, "text_at": self.text_at});
        let mut body = json!({"model": name, "stream": self.stream, "wanwu_script": script});
        match self.shape {
            Shape::Chat => body["messages"] = json!([{"role": "user", "content": "你好"}]),
            Shape::Completions => body["prompt"] = json!("从前"),
            Shape::Responses | Shape::Embeddings => body["input"] = json!("你好"),
        }
        let got = world.call_as(self.shape, &body).await;
        got.unwrap_or_else(|error| panic!("{self:?}: {error:?}"))
    }

    /// Asks it of a name and is answered as if nothing failed: the row of the call, and who answered.
    async fn answered(&self, world: &World, name: &str) -> (CallRow, String) {
        let got = self.call(world, name).await;
        assert_eq!(got.error, None, "{self:?}");
        let said = got.raw.concat();
        let text = if self.shape.is_generated() {
            "好"
        } else {
            "0.5"
        };
        assert!(said.contains(text), "{self:?}: {said}");
        if self.stream && self.shape.has_typed_events() {
            // Of the one that failed there is nothing before them.
            assert_eq!(got.events.len(), self.says.len(), "{:?}", got.events);
        }
        let row = rows::ended(&world.pool, &got.call_id).await;
        let used = (row.outcome, row.input_tokens, row.output_tokens);
        let output = i64::from(self.shape.is_generated());
        assert_eq!(used, (1, 5, output), "{self:?}");
        let first = &got.frames[0];
        let model = first["model"].as_str();
        let model = model.or(first["response"]["model"].as_str());
        (row, model.unwrap().to_owned())
    }
}

/// An engine is not left out in these tests, however often in a row it fails.
fn forgiving(sections: &mut Sections) {
    sections.engines.eject_after = 1000;
}

/// A router whose models have an engine that is well and then this one, asked in turn.
async fn beside_one_that_is_well(pool: &PgPool, failing: &Failing) -> World {
    World::with(pool.clone(), |sections| {
        all_shapes(sections);
        forgiving(sections);
        for model in &mut sections.models {
            model.engines.extend(failing.addresses());
            model.policy = Policy::RoundRobin;
        }
    })
    .await
}

/// A router whose models have this engine alone. The names `any-test` and `any-vectors` have other models
/// to fall back to, `new-test` and `new-vectors`, whose engine is well.
async fn before_a_fallback(pool: &PgPool, failing: &Failing) -> World {
    const MODELS: [&str; 2] = ["test", "vectors"];
    let world = World::with(pool.clone(), |sections| {
        all_shapes(sections);
        forgiving(sections);
        for at in 0..MODELS.len() {
            let mut fallback = sections.models[at].clone();
            fallback.name = format!("new-{}", fallback.name);
            sections.models.push(fallback);
            sections.models[at].engines = failing.addresses();
        }
    })
    .await;
    let chat = &world.app.chat;
    for model in MODELS {
        let target = Target {
            model: model.to_owned(),
            weight: 1,
        };
        let route = Route {
            name: format!("any-{model}"),
            targets: vec![target],
            fallbacks: vec![format!("new-{model}")],
            mirror: None,
            allowed: Vec::new(),
            deprecated_at: None,
            ends_at: None,
        };
        let put = put_route(pool, &chat.catalogue, id(), route, 0, Utc::now()).await;
        put.unwrap();
    }
    let account = world.caller.account_id;
    wait_for("the routes to hold", async || {
        let names = chat.routes.names(&chat.catalogue, account, Utc::now());
        let routed = names.iter().filter(|(name, ..)| name.starts_with("any-"));
        routed.count() == MODELS.len()
    })
    .await;
    world
}

/// Every call so far has one row and one bill.
async fn each_is_paid_once(pool: &PgPool, calls: usize) {
    let rows = usize::try_from(rows::count(pool).await).unwrap();
    assert_eq!((rows, billing::events(pool).await.len()), (calls, calls));
}

async fn another_engine_answers(pool: &PgPool, fault: Fault) {
    let failing = Failing::start(fault).await;
    let world = beside_one_that_is_well(pool, &failing).await;
    let mut calls = 0;
    for asked in requests() {
        let before = failing.asked();
        // In turn: of two calls it is the first one's engine once at least.
        while failing.asked() == before {
            assert!(calls < 14, "it is never asked");
            calls += 1;
            let (row, _) = asked.answered(&world, asked.model()).await;
            let attempts = 1 + (failing.asked() - before);
            assert_eq!(usize::try_from(row.attempts), Ok(attempts), "{asked:?}");
        }
    }
    each_is_paid_once(pool, calls).await;
}

#[sqlx::test]
async fn another_engine_answers_where_one_is_unable(pool: PgPool) {
    another_engine_answers(&pool, Fault::Unable).await;
}

#[sqlx::test]
async fn another_engine_answers_where_one_breaks_before_the_first_text(pool: PgPool) {
    another_engine_answers(&pool, Fault::Breaks).await;
}

#[sqlx::test]
async fn another_engine_answers_where_one_ends_before_the_first_text(pool: PgPool) {
    another_engine_answers(&pool, Fault::Ends).await;
}

async fn another_model_answers(pool: &PgPool, fault: Fault) {
    let failing = Failing::start(fault).await;
    let world = before_a_fallback(pool, &failing).await;
    let all = requests();
    for asked in &all {
        let name = format!("any-{}", asked.model());
        let (row, model) = asked.answered(&world, &name).await;
        let expected = (2, format!("new-{}", asked.model()));
        assert_eq!((row.attempts, model), expected, "{asked:?}");
    }
    assert_eq!(failing.asked(), all.len());
    each_is_paid_once(pool, all.len()).await;
}

#[sqlx::test]
async fn another_model_answers_where_the_engines_of_one_are_unable(pool: PgPool) {
    another_model_answers(&pool, Fault::Unable).await;
}

#[sqlx::test]
async fn another_model_answers_where_the_engines_of_one_break_before_the_first_text(pool: PgPool) {
    another_model_answers(&pool, Fault::Breaks).await;
}

#[sqlx::test]
async fn another_model_answers_where_the_engines_of_one_end_before_the_first_text(pool: PgPool) {
    another_model_answers(&pool, Fault::Ends).await;
}

#[sqlx::test]
async fn what_was_said_already_is_not_said_again_by_another_model(pool: PgPool) {
    let failing = Failing::start(Fault::BreaksLater).await;
    let world = before_a_fallback(&pool, &failing).await;
    for asked in requests().iter().filter(|asked| asked.stream) {
        let got = asked.call(&world, &format!("any-{}", asked.model())).await;
        let error = got.error.unwrap();
        assert_eq!(error["error"]["code"], "engine_failed", "{asked:?}");
        assert_eq!(got.frames.len(), asked.text_at + 1, "{asked:?}");
        let row = rows::ended(&pool, &got.call_id).await;
        let ended = (row.attempts, row.outcome, row.output_tokens);
        assert_eq!(ended, (1, 3, 1), "{asked:?}");
    }
    assert_eq!(world.engine.calls(), 0);
}
