//! Pools of engines.

use serde_json::json;
use sqlx::PgPool;

use crate::world::{World, chat, config, engine::FakeEngine, rows};
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
        sections.engines.probe_every = std::time::Duration::from_secs(3600);
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
async fn a_stream_that_ended_leaves_its_connection_to_the_next(pool: PgPool) {
    let world = World::with(pool, |sections| {
        sections.engines.probe_every = std::time::Duration::from_secs(3600);
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
        sections.engines.probe_every = std::time::Duration::from_millis(50);
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
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        again = world.call(&chat(true, json!({"tokens": 1}))).await;
    }
    panic!("{again:?}");
}
