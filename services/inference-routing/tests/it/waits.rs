//! Who is refused for now is told when to come again, waits so long and no longer, and passes.

use std::{
    num::NonZeroU64,
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use axum::{
    Router,
    http::StatusCode,
    response::IntoResponse,
    routing::{get, post},
};
use futures::future::join_all;
use inference_routing::{
    Error,
    commands::limits::set_limits,
    domain::limits::{Limits, Rule, Subject},
};
use serde_json::{Value, json};
use sqlx::PgPool;
use tokio::{net::TcpListener, task::JoinHandle, time::sleep};
use tonic_types::StatusExt;

use crate::world::{World, chat, config, engine::PROMPT_TOKENS, wait_for};

/// Tokens of an answer, and the most that its client allows: together with the estimate of its prompt just
/// what is used in the end, so that nothing of what was taken comes back.
const ANSWER: u64 = 86;
const MOST: u64 = PROMPT_TOKENS + ANSWER - PROMPT;
/// The estimate: a quarter of the twenty bytes of the message.
const PROMPT: u64 = 5;

/// A call that uses all that it takes of limits.
fn question() -> Value {
    let mut body = chat(true, json!({"tokens": ANSWER}));
    body["max_tokens"] = json!(MOST);
    body
}

/// How long the client of a refused call is told to wait.
fn told(error: &Error) -> Duration {
    let status = wanwu_grpc::status(error);
    let told = status.get_details_retry_info();
    let told = told.and_then(|info| info.retry_delay);
    told.unwrap_or_else(|| panic!("{error:?} tells no time"))
}

/// Makes calls until one is refused; answers how long that one is told to wait.
async fn refused(world: &World, body: &Value) -> Duration {
    for _ in 0..100 {
        match world.call(body).await {
            Ok(got) => assert_eq!(got.error, None),
            Err(error) => return told(&error),
        }
    }
    panic!("no call is refused");
}

/// A router whose caller's key has these limits.
async fn limited(pool: &PgPool, limits: Limits) -> World {
    let world = World::start(pool.clone()).await;
    let caller = world.caller;
    world.billing.give(caller.account_id, 1_000_000_000_000);
    let key = Subject::key(caller.key_id);
    let priority = None;
    set_limits(pool, caller.account_id, key, Rule { limits, priority })
        .await
        .unwrap();
    // Routers read limits twice a second.
    sleep(Duration::from_millis(700)).await;
    world
}

/// Uses a limit up by so many calls at once; from then on each call that is refused passes after the time
/// that it is told, which is `most` where nothing is left.
async fn passes_as_told(world: &World, calls: usize, most: Duration) {
    let body = question();
    join_all((0..calls).map(|_| world.call(&body))).await;
    for _ in 0..3 {
        let told = refused(world, &body).await;
        assert!(!told.is_zero() && told <= most, "{told:?}");
        sleep(told).await;
        let got = world.call(&body).await;
        let got = got.unwrap_or_else(|error| panic!("after {told:?}: {error:?}"));
        assert_eq!(got.error, None);
    }
}

#[sqlx::test]
async fn who_waits_as_told_is_within_the_requests_of_a_minute(pool: PgPool) {
    // One comes back in half a second.
    let limits = Limits {
        requests_per_minute: NonZeroU64::new(120),
        ..Limits::default()
    };
    let world = limited(&pool, limits).await;
    passes_as_told(&world, 130, Duration::from_millis(500)).await;
}

#[sqlx::test]
async fn who_waits_as_told_is_within_the_tokens_of_a_minute(pool: PgPool) {
    // Two hundred come back in a second.
    let limits = Limits {
        tokens_per_minute: NonZeroU64::new(12_000),
        ..Limits::default()
    };
    let world = limited(&pool, limits).await;
    let most = Duration::from_millis((PROMPT + MOST) * 5);
    passes_as_told(&world, 140, most).await;
}

#[sqlx::test]
async fn who_waits_as_told_has_a_place_among_the_calls_at_a_time(pool: PgPool) {
    let limits = Limits {
        concurrent_calls: NonZeroU64::new(2),
        ..Limits::default()
    };
    let world = limited(&pool, limits).await;
    let body = chat(true, json!({"tokens": 11, "delay_ms": 50}));
    let running = join_all((0..2).map(|_| world.call(&body)));
    let another = async {
        wait_for("both to run", async || world.engine.calls() == 2).await;
        let told = told(&world.call(&body).await.unwrap_err());
        sleep(told).await;
        world.call(&body).await.unwrap()
    };
    let (running, another) = tokio::join!(running, another);
    assert!(running.iter().all(Result::is_ok));
    assert_eq!(another.error, None);
}

#[sqlx::test]
async fn who_waits_as_told_has_a_place_where_the_queue_was_full(pool: PgPool) {
    let world = World::with(pool, |sections| {
        sections.chat.max_running = 1;
        // A quarter of them for one account.
        sections.chat.max_waiting = 4;
    })
    .await;
    let model = world.app.chat.catalogue.find("test").unwrap();
    let body = chat(true, json!({"tokens": 6, "delay_ms": 60}));
    let before = join_all((0..2).map(|_| world.call(&body)));
    let another = async {
        let full = async || model.admission.load() == (1, 1);
        wait_for("one to run and one to wait", full).await;
        let told = told(&world.call(&body).await.unwrap_err());
        sleep(told).await;
        world.call(&body).await.unwrap()
    };
    let (before, another) = tokio::join!(before, another);
    assert!(before.iter().all(Result::is_ok));
    assert_eq!(another.error, None);
}

/// An engine that wants to be left alone for so long from when it is asked first, and answers then.
struct Resting {
    url: String,
    server: JoinHandle<()>,
}

impl Resting {
    async fn start(seconds: u64) -> Self {
        let rested = Arc::<OnceLock<Instant>>::default();
        let answer = move || {
            let rest = Duration::from_secs(seconds);
            let rested = *rested.get_or_init(|| Instant::now() + rest);
            async move {
                if Instant::now() < rested {
                    let wait = [("retry-after", seconds.to_string())];
                    return (StatusCode::TOO_MANY_REQUESTS, wait).into_response();
                }
                let message = json!({"role": "assistant", "content": "好"});
                let choice = json!({"index": 0, "message": message, "finish_reason": "stop"});
                json!({"choices": [choice]}).to_string().into_response()
            }
        };
        let router = Router::new()
            .route("/health", get(|| async {}))
            .route("/v1/chat/completions", post(answer));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, server }
    }
}

impl Drop for Resting {
    fn drop(&mut self) {
        self.server.abort();
    }
}

#[sqlx::test]
async fn who_waits_as_busy_engines_say_is_answered_by_the_first_that_is_free(pool: PgPool) {
    let (soon, late) = (Resting::start(1).await, Resting::start(30).await);
    let world = World::with(pool, |sections| {
        let engines = config(&[&soon.url, &late.url]).models.remove(0).engines;
        sections.models[0].engines = engines;
        // Neither is free so soon.
        sections.chat.queue_timeout = Duration::from_millis(100);
    })
    .await;
    let body = chat(false, json!({}));
    let at_first = told(&world.call(&body).await.unwrap_err());
    assert_eq!(at_first, Duration::from_secs(1));
    sleep(Duration::from_millis(300)).await;
    // Neither is asked now; what is left of the time is told.
    let left = told(&world.call(&body).await.unwrap_err());
    assert!(left <= Duration::from_millis(700), "{left:?}");
    sleep(left).await;
    let got = world.call(&body).await.unwrap();
    assert_eq!(got.frames[0]["choices"][0]["message"]["content"], "好");
}

#[sqlx::test]
async fn who_may_wait_until_a_busy_engine_is_free_is_answered_then(pool: PgPool) {
    let (soon, late) = (Resting::start(1).await, Resting::start(30).await);
    let world = World::with(pool, |sections| {
        let engines = config(&[&soon.url, &late.url]).models.remove(0).engines;
        sections.models[0].engines = engines;
    })
    .await;
    let begin = Instant::now();
    let body = chat(false, json!({}));
    let calls = join_all((0..3).map(|_| world.call(&body))).await;
    let took = begin.elapsed();
    for got in calls {
        let message = &got.unwrap().frames[0]["choices"][0]["message"];
        assert_eq!(message["content"], "好");
    }
    let second = Duration::from_secs(1);
    assert!(took >= second && took < 4 * second, "{took:?}");
}
