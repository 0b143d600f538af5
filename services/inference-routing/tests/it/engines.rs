//! Pools of engines.

use std::time::Duration;

use serde_json::json;
use sqlx::PgPool;
use tokio::{
    net::{TcpSocket, TcpStream},
    time::timeout,
};

use crate::world::{World, chat, config, engine::FakeEngine, read, rows, wait_for};
use inference_routing::Error;

#[sqlx::test]
async fn another_engine_is_tried_before_the_first_token(pool: PgPool) {
    let dead = FakeEngine::start().await;
    let url = dead.url.clone();
    drop(dead);
    let world = World::with(pool.clone(), |sections| {
        let more = config(&[&url]).models.remove(0).engines;
        sections.models[0].engines.splice(0..0, more);
        // Nobody finds out beforehand.
        sections.engines.probe_every = Duration::from_secs(3600);
    })
    .await;
    let mut attempts = Vec::new();
    for _ in 0..3 {
        let got = world.call(&chat(true, json!({"tokens": 2}))).await.unwrap();
        attempts.push(rows::ended(&pool, &got.call_id).await.attempts);
    }
    // The dead one is found once and then left out.
    assert_eq!(
        attempts.iter().filter(|n| **n == 2).count(),
        1,
        "{attempts:?}"
    );
}

#[sqlx::test]
async fn an_engine_that_takes_no_connection_costs_no_more_than_the_time_to_connect(pool: PgPool) {
    // Its queue of connections is full: nothing answers the next.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let full = socket.listen(1).unwrap();
    let address = full.local_addr().unwrap();
    let mut queued = Vec::new();
    while let Ok(Ok(connection)) =
        timeout(Duration::from_millis(200), TcpStream::connect(address)).await
    {
        queued.push(connection);
    }
    let world = World::with(pool.clone(), |sections| {
        let more = config(&[&format!("http://{address}")])
            .models
            .remove(0)
            .engines;
        sections.models[0].engines.extend(more);
        sections.engines.connect_timeout = Duration::from_millis(200);
        sections.engines.probe_every = Duration::from_secs(3600);
    })
    .await;
    let mut attempts = 0;
    for _ in 0..30 {
        let got = world.call(&chat(true, json!({"tokens": 1}))).await.unwrap();
        assert!(got.error.is_none());
        attempts += rows::ended(&pool, &got.call_id).await.attempts;
    }
    // It is left out after some (`transport_eject_after`).
    assert!((31..=36).contains(&attempts), "{attempts}");
    assert!(!queued.is_empty());
}

#[sqlx::test]
async fn a_stream_that_ended_leaves_its_connection_to_the_next(pool: PgPool) {
    let world = World::with(pool, |sections| {
        sections.engines.probe_every = Duration::from_secs(3600);
    })
    .await;
    for _ in 0..5 {
        world.call(&chat(true, json!({"tokens": 2}))).await.unwrap();
    }
    assert!(world.engine.connections() <= 2);
}

#[sqlx::test]
async fn an_engine_that_is_unable_is_an_unavailable_engine(pool: PgPool) {
    let world = World::start(pool.clone()).await;
    let error = world
        .call(&chat(true, json!({"status": 503})))
        .await
        .unwrap_err();
    assert!(matches!(error, Error::EngineUnavailable(_)));
    let event = crate::world::billing::events(&pool).await.remove(0);
    assert_eq!(event.amount_nanos, 0);
}

#[sqlx::test]
async fn the_engines_refusal_is_told_in_its_own_words(pool: PgPool) {
    let world = World::start(pool).await;
    let error = world
        .call(&chat(false, json!({"status": 422})))
        .await
        .unwrap_err();
    let Error::EngineRefused { status, message } = error else {
        panic!("{error:?}")
    };
    assert_eq!((status, message.as_str()), (422, "the engine says no"));
}

#[sqlx::test]
async fn an_engine_that_comes_back_is_used_again(pool: PgPool) {
    let engine = FakeEngine::start().await;
    let address = engine.url.trim_start_matches("http://").to_owned();
    let world = World::with(pool, |sections| {
        sections.models[0].engines[0].url = engine.url.clone();
        sections.engines.probe_every = Duration::from_millis(50);
    })
    .await;
    assert!(world.call(&chat(true, json!({"tokens": 1}))).await.is_ok());
    drop(engine);
    assert!(world.call(&chat(true, json!({"tokens": 1}))).await.is_err());
    let listener = tokio::net::TcpListener::bind(&address).await.unwrap();
    let _engine = FakeEngine::on(listener);
    let mut again = world.call(&chat(true, json!({"tokens": 1}))).await;
    for _ in 0..60 {
        if again.is_ok() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        again = world.call(&chat(true, json!({"tokens": 1}))).await;
    }
    panic!("{again:?}");
}

#[sqlx::test]
async fn calls_of_an_engine_that_drains_or_is_removed_end_as_they_began(pool: PgPool) {
    let (old, new) = (FakeEngine::start().await, FakeEngine::start().await);
    let file = std::env::temp_dir().join(format!("engines-{}", crate::world::id::<()>()));
    std::fs::write(&file, &old.url).unwrap();
    let world = World::with(pool, |sections| {
        sections.models[0].engines.truncate(1);
        sections.models[0].engines[0].url = format!("file:{}", file.display());
        sections.engines.discover_every = Duration::from_millis(50);
    })
    .await;
    let quick = chat(true, json!({"tokens": 1}));
    wait_for("the first engine", async || {
        world.call(&quick).await.is_ok()
    })
    .await;
    let slow = chat(true, json!({"tokens": 40, "delay_ms": 50}));
    for leaves in [
        format!("{} draining\n{}", old.url, new.url),
        new.url.clone(),
    ] {
        std::fs::write(&file, &old.url).unwrap();
        let known = old.calls();
        wait_for("the first engine again", async || {
            world.call(&quick).await.unwrap();
            old.calls() > known
        })
        .await;
        let (known, running) = (new.calls(), world.begin(&slow).await.unwrap());
        std::fs::write(&file, leaves).unwrap();
        wait_for("the second engine", async || {
            world.call(&quick).await.unwrap();
            new.calls() > known
        })
        .await;
        let got = read(running).await;
        assert!(got.error.is_none());
        assert_eq!(got.text().matches('词').count(), 40);
    }
    std::fs::remove_file(&file).unwrap();
}

#[sqlx::test]
async fn engines_are_found_behind_a_name(pool: PgPool) {
    let engine = FakeEngine::start().await;
    let port = engine.url.rsplit_once(':').unwrap().1;
    let source = format!("dns:localhost:{port}");
    let world = World::with(pool, |sections| {
        sections.models[0].engines.truncate(1);
        sections.models[0].engines[0].url = source;
    })
    .await;
    let quick = chat(true, json!({"tokens": 1}));
    wait_for("the engine", async || world.call(&quick).await.is_ok()).await;
    assert_eq!(engine.calls(), 1);
}
