//! Engines that say that they are busy.

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
    http::StatusCode,
    routing::{get, post},
};
use inference_routing::{Error, engine::pool::Named};
use serde_json::json;
use sqlx::PgPool;
use tokio::{net::TcpListener, task::JoinHandle};

use crate::world::{World, chat, config};

/// An engine that is well, and wants to be left alone whatever it is asked.
pub struct BusyEngine {
    pub url: String,
    asked: Arc<AtomicUsize>,
    server: JoinHandle<()>,
}

impl BusyEngine {
    /// It wants to be left alone for so many seconds.
    pub async fn start(seconds: u64) -> Self {
        let asked = Arc::<AtomicUsize>::default();
        let count = asked.clone();
        let refuse = move |_: Bytes| {
            count.fetch_add(1, Ordering::Relaxed);
            let wait = [("retry-after", seconds.to_string())];
            async move { (StatusCode::TOO_MANY_REQUESTS, wait) }
        };
        let router = Router::new()
            .route("/health", get(|| async {}))
            .route("/v1/chat/completions", post(refuse));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, asked, server }
    }

    /// Calls that reached it.
    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

impl Drop for BusyEngine {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// A router with these engines alone.
async fn with_engines(pool: &PgPool, engines: &[&BusyEngine]) -> World {
    let urls: Vec<_> = engines.iter().map(|engine| engine.url.as_str()).collect();
    let engines = config(&urls).models.remove(0).engines;
    World::with(pool.clone(), |sections| {
        sections.models[0].engines = engines;
    })
    .await
}

/// How long the client of a call is told to wait.
async fn told(world: &World) -> Duration {
    match world.call(&chat(true, json!({}))).await {
        Err(Error::Busy { retry_after }) => retry_after,
        other => panic!("{other:?}"),
    }
}

#[sqlx::test]
async fn of_engines_that_are_all_busy_the_least_time_is_told(pool: PgPool) {
    let least = Duration::from_secs(30);
    // Whichever of the two is asked first.
    for [first, second] in [[30, 50], [50, 30]] {
        let first = BusyEngine::start(first).await;
        let second = BusyEngine::start(second).await;
        let world = with_engines(&pool, &[&first, &second]).await;
        assert_eq!(told(&world).await, least);
        let later = told(&world).await;
        assert!(later < least && !later.is_zero(), "{later:?}");
        assert_eq!((first.asked(), second.asked()), (1, 1), "left alone");
    }
}

#[sqlx::test]
async fn a_busy_engine_that_is_alone_says_when_to_come_again(pool: PgPool) {
    let alone = BusyEngine::start(30).await;
    let world = with_engines(&pool, &[&alone]).await;
    let least = Duration::from_secs(30);
    assert_eq!(told(&world).await, least);
    let later = told(&world).await;
    assert!(later < least && !later.is_zero(), "{later:?}");
    // One that joins is asked, and the other's time is still the least.
    let joined = BusyEngine::start(50).await;
    let named = [Named {
        url: joined.url.clone(),
        draining: false,
    }];
    let model = world.app.chat.catalogue.find("test").unwrap();
    model.pool.name(1, &named, None, Instant::now());
    let later = told(&world).await;
    assert!(later < least && !later.is_zero(), "{later:?}");
    assert_eq!((alone.asked(), joined.asked()), (1, 1));
}
