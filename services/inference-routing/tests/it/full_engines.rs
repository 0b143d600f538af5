//! Engines that refuse what they have no room for: calls wait for them in fair turns.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use chrono::Utc;
use inference_routing::{
    Error,
    commands::{chat::Caller, routes::put_route},
    domain::route::{Route, Target},
};
use serde_json::{Value, json};
use sqlx::PgPool;
use tokio::{net::TcpListener, sync::Semaphore, task::JoinHandle, time::sleep};

use crate::{
    turns::{among_the_first, turns},
    world::{World, chat, config, id, read, wait_for},
};

/// An engine that runs so many calls at a time, each for so long, and refuses more with 429.
pub struct FullEngine {
    pub url: String,
    state: Arc<Calls>,
    server: JoinHandle<()>,
}

struct Calls {
    room: Semaphore,
    long: Duration,
    asked: AtomicUsize,
}

impl FullEngine {
    pub async fn start(room: usize, long: Duration) -> Self {
        let state = Arc::new(Calls {
            room: Semaphore::new(room),
            long,
            asked: AtomicUsize::new(0),
        });
        let router = Router::new()
            .route("/health", get(|| async {}))
            .route("/v1/chat/completions", post(complete))
            .with_state(state.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, state, server }
    }

    /// It runs so many calls more at a time.
    pub fn make_room(&self, calls: usize) {
        self.state.room.add_permits(calls);
    }

    /// Calls that reached it, refused or not.
    pub fn asked(&self) -> usize {
        self.state.asked.load(Ordering::Relaxed)
    }
}

impl Drop for FullEngine {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn complete(State(calls): State<Arc<Calls>>, body: Bytes) -> Response {
    calls.asked.fetch_add(1, Ordering::Relaxed);
    let Ok(_room) = calls.room.try_acquire() else {
        return StatusCode::TOO_MANY_REQUESTS.into_response();
    };
    sleep(calls.long).await;
    let asked: Value = serde_json::from_slice(&body).unwrap();
    let usage = json!({"prompt_tokens": 9, "completion_tokens": 1, "total_tokens": 10});
    let text = json!({"role": "assistant", "content": "好"});
    if asked["stream"] != true {
        let choice = json!({"index": 0, "message": text, "finish_reason": "stop"});
        let answer = json!({"id": "c", "object": "chat.completion", "created": 1,
            "model": "engine-test", "choices": [choice], "usage": usage});
        return answer.to_string().into_response();
    }
    let choices = [
        json!([{"index": 0, "delta": text, "finish_reason": null}]),
        json!([{"index": 0, "delta": {}, "finish_reason": "stop"}]),
        json!([]),
    ];
    let mut events = String::new();
    for choices in choices {
        let is_last = choices == json!([]);
        let mut chunk = json!({"id": "c", "object": "chat.completion.chunk", "created": 1,
            "model": "engine-test", "choices": choices});
        if is_last {
            chunk["usage"] = usage.clone();
        }
        events.push_str(&format!("data: {chunk}\n\n"));
    }
    format!("{events}data: [DONE]\n\n").into_response()
}

/// A router with this engine alone, of which calls may wait for their turn for so long.
async fn with_engine(pool: &PgPool, engine: &FullEngine, wait: Duration) -> World {
    let engines = config(&[&engine.url]).models.remove(0).engines;
    World::with(pool.clone(), |sections| {
        sections.models[0].engines = engines;
        sections.chat.queue_timeout = wait;
    })
    .await
}

#[sqlx::test]
async fn accounts_take_turns_at_an_engine_that_has_no_room_for_all_their_calls(pool: PgPool) {
    const OF_ONE: usize = 100;
    const OF_EACH: usize = 3;
    let engine = FullEngine::start(4, Duration::from_millis(30)).await;
    let world = with_engine(&pool, &engine, Duration::from_secs(60)).await;
    let mut senders = vec![(world.caller, OF_ONE)];
    for _ in 0..9 {
        let caller = Caller {
            account_id: id(),
            app_id: id(),
            key_id: id(),
        };
        senders.push((caller, OF_EACH));
    }
    for (caller, _) in &senders {
        world.billing.give(caller.account_id, 1_000_000_000_000);
    }
    // None of them is refused, though the engine is asked for all at once.
    let turns = turns(&world, &senders).await;
    let all = OF_ONE + 9 * OF_EACH;
    assert_eq!(turns.len(), all);
    let of_one = among_the_first(&turns, 60, 0);
    assert_eq!(60 - of_one, 9 * OF_EACH, "{turns:?}");
    // Each was refused once at most, as long as nothing was known of its room, and now and then one more.
    let asked = engine.asked();
    assert!(asked <= 2 * all + 20, "{asked} for {all}");
}

#[sqlx::test]
async fn a_call_for_which_no_engine_has_room_in_time_is_told_when_to_come_again(pool: PgPool) {
    let engine = FullEngine::start(0, Duration::ZERO).await;
    let wait = Duration::from_millis(300);
    let world = with_engine(&pool, &engine, wait).await;
    let begin = Instant::now();
    let refused = world.call(&chat(true, json!({}))).await.unwrap_err();
    let Error::Busy { retry_after } = refused else {
        panic!("{refused:?}")
    };
    assert!(begin.elapsed() >= wait, "it waited");
    assert_eq!(retry_after, Duration::from_secs(1));
    assert_eq!(engine.asked(), 1, "nothing had changed there");
    let model = world.app.chat.catalogue.find("test").unwrap();
    assert_eq!(model.admission.load().0, 0);
}

#[sqlx::test]
async fn a_call_waits_for_the_one_that_an_engine_runs(pool: PgPool) {
    let long = Duration::from_millis(700);
    let engine = FullEngine::start(1, long).await;
    let world = with_engine(&pool, &engine, Duration::from_secs(10)).await;
    let begin = Instant::now();
    let body = chat(false, json!({}));
    let calls = [(); 2].map(|()| world.call(&body));
    for got in futures::future::join_all(calls).await {
        let got = got.unwrap();
        let message = &got.frames[0]["choices"][0]["message"];
        assert_eq!(message["content"], "好");
    }
    let took = begin.elapsed();
    assert!(took >= 2 * long && took < 4 * long, "{took:?}");
    // Both at once, and the one that was refused once more.
    assert_eq!(engine.asked(), 3);
}

#[sqlx::test]
async fn calls_wait_for_engines_that_are_full_though_a_fallback_is_down(pool: PgPool) {
    let engine = FullEngine::start(1, Duration::from_millis(200)).await;
    let engines = config(&[&engine.url]).models.remove(0).engines;
    let world = World::with(pool.clone(), |sections| {
        let mut down = sections.models[0].clone();
        down.name = "down".to_owned();
        down.engines = config(&["http://127.0.0.1:1"]).models.remove(0).engines;
        sections.models.push(down);
        sections.models[0].engines = engines;
        sections.chat.queue_timeout = Duration::from_secs(30);
    })
    .await;
    let app = &world.app.chat;
    let target = Target {
        model: "test".to_owned(),
        weight: 1,
    };
    let route = Route {
        name: "any".to_owned(),
        targets: vec![target],
        fallbacks: vec!["down".to_owned()],
        mirror: None,
        allowed: Vec::new(),
        deprecated_at: None,
        ends_at: None,
    };
    let put = put_route(&pool, &app.catalogue, id(), route, 0, Utc::now()).await;
    put.unwrap();
    let account = world.caller.account_id;
    wait_for("the route to hold", async || {
        let names = app.routes.names(&app.catalogue, account, Utc::now());
        names.iter().any(|(name, ..)| name == "any")
    })
    .await;
    let mut body = chat(false, json!({}));
    body["model"] = json!("any");
    // One has the engine; the others meet it full, or know that it is.
    let calls = [(); 5].map(|()| world.call(&body));
    for got in futures::future::join_all(calls).await {
        assert_eq!(got.unwrap().error, None);
    }
}

#[sqlx::test]
async fn the_key_of_a_call_that_left_before_an_engine_had_room_is_good_again(pool: PgPool) {
    let engine = FullEngine::start(0, Duration::ZERO).await;
    let world = with_engine(&pool, &engine, Duration::from_secs(60)).await;
    let mut request = world.request(&chat(true, json!({})));
    request.idempotency_key = "order-7".to_owned();
    let leaves = world.app.chat.create(request.clone());
    let waited = tokio::time::timeout(Duration::from_millis(500), leaves).await;
    assert!(waited.is_err(), "it waits");
    wait_for("its row to have an end", async || {
        let ended = sqlx::query_scalar("select count(*) from calls where outcome <> 0");
        let ended: i64 = ended.fetch_one(&pool).await.unwrap();
        ended == 1
    })
    .await;
    engine.make_room(1);
    let reply = world.app.chat.create(request).await.unwrap();
    assert_eq!(read(reply).await.error, None);
}
