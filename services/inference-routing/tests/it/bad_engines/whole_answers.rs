//! Answers in one piece, of which nothing is seen before their end.

use std::time::Duration;

use futures::future::join_all;
use inference_routing::domain::shape::Shape;
use serde_json::{Value, json};
use sqlx::PgPool;
use tokio::time::Instant;

use super::{Fault, Trial, at_most_one_in_a_thousand};
use crate::world::{World, all_shapes, chat, config, engine::FakeEngine, rows};

/// One of three engines hangs and says that it is well, while this is asked for.
async fn one_hangs(pool: PgPool, shape: Shape, body: Value) {
    let mut trial = Trial::start_with(pool, |sections| {
        all_shapes(sections);
        // Half a second for the hundred tokens that an answer may have.
        sections.engines.answer_pace = Duration::from_millis(5);
        sections.engines.answer_timeout = Duration::from_secs(60);
    })
    .await;
    trial.asked = (shape, body);
    let begin = Instant::now();
    let (seen, later) = trial.run(Fault::Hangs).await;
    let took = begin.elapsed();
    at_most_one_in_a_thousand(&seen);
    assert!(later <= 10, "{later} calls were sent to it");
    // Nobody waited for the answer as long as one may.
    assert!(took < Duration::from_secs(45), "{took:?}");
}

#[sqlx::test]
async fn an_engine_that_hangs_costs_answers_in_one_piece_only_a_wait(pool: PgPool) {
    one_hangs(pool, Shape::Chat, chat(false, json!({}))).await;
}

#[sqlx::test]
async fn an_engine_that_hangs_costs_embeddings_only_a_wait(pool: PgPool) {
    let body = json!({"model": "vectors", "input": ["你好", "world"]});
    one_hangs(pool, Shape::Embeddings, body).await;
}

#[sqlx::test]
async fn long_answers_in_one_piece_are_no_sign_of_an_engine_that_hangs(pool: PgPool) {
    let other = FakeEngine::start().await;
    let world = World::with(pool.clone(), |sections| {
        let more = config(&[&other.url]).models.remove(0).engines;
        sections.models[0].engines.extend(more);
        sections.engines.probe_every = Duration::from_millis(50);
        sections.engines.stall_timeout = Duration::from_millis(200);
        // Ten seconds for the hundred tokens that an answer may have.
        sections.engines.answer_pace = Duration::from_millis(100);
    })
    .await;
    let long = chat(false, json!({"tokens": 3, "first_delay_ms": 1500}));
    // One of the two has at least three of them, as many as would show that it hangs.
    let answers = join_all((0..8).map(|_| world.call(&long))).await;
    for answer in answers {
        let call = answer.unwrap().call_id;
        assert_eq!(rows::ended(&pool, &call).await.attempts, 1);
    }
}
