//! Calls that end before their answer does.

use std::time::{Duration, Instant};

use futures::StreamExt;
use inference_routing::Error;
use serde_json::json;
use sqlx::PgPool;

use crate::{
    metrics::Metrics,
    world::{
        World, chat, config,
        engine::{FakeEngine, PROMPT_TOKENS},
        read, rows, wait_for,
    },
};

#[sqlx::test]
async fn a_client_that_goes_away_stops_the_engine_and_pays_what_was_sent(pool: PgPool) {
    let world = World::start(pool.clone()).await;
    let script = json!({"tokens": 1000, "delay_ms": 20});
    let mut reply = world.begin(&chat(true, script)).await.unwrap();
    let call = reply.call_id.to_string();
    for _ in 0..4 {
        reply.next().await.unwrap().unwrap();
    }
    drop(reply);
    wait_for("the engine to notice", async || {
        world.engine.seen(&call).unwrap().cancelled
    })
    .await;
    assert!(world.engine.seen(&call).unwrap().sent < 12);
    let row = rows::ended(&pool, &call).await;
    assert_eq!((row.outcome, row.output_tokens), (2, 4));
    assert_eq!(row.usage_source.as_deref(), Some("estimate"));
}

#[sqlx::test]
async fn a_client_that_goes_away_pays_by_the_running_usage_where_there_is_one(pool: PgPool) {
    let world = World::with(pool.clone(), |config| {
        config.models[0].continuous_usage = true
    })
    .await;
    let script = json!({"tokens": 1000, "delay_ms": 20});
    let mut reply = world.begin(&chat(true, script)).await.unwrap();
    let call = reply.call_id.to_string();
    reply.next().await.unwrap().unwrap();
    reply.next().await.unwrap().unwrap();
    drop(reply);
    let row = rows::ended(&pool, &call).await;
    assert_eq!(
        (row.input_tokens, row.output_tokens),
        (PROMPT_TOKENS as i64, 2)
    );
    assert_eq!(row.usage_source.as_deref(), Some("engine"));
}

#[sqlx::test]
async fn a_client_that_takes_nothing_is_given_up_and_pays_what_it_took(pool: PgPool) {
    let metrics = Metrics::collected();
    let world = World::with(pool.clone(), |config| {
        config.chat.stall_timeout = std::time::Duration::from_millis(300);
    })
    .await;
    let script = json!({"tokens": 1000, "delay_ms": 1});
    let mut reply = world.begin(&chat(true, script)).await.unwrap();
    let call = reply.call_id.to_string();
    for _ in 0..4 {
        reply.next().await.unwrap().unwrap();
    }
    wait_for("the engine to notice", async || {
        world.engine.seen(&call).unwrap().cancelled
    })
    .await;
    let row = rows::ended(&pool, &call).await;
    assert_eq!((row.outcome, row.output_tokens), (2, 4));
    // Whoever reads on finds no more of the answer, and no good end.
    let rest = crate::world::read(reply).await;
    assert!(rest.frames.is_empty());
    assert_eq!(rest.error.unwrap()["error"]["code"], "client_stalled");
    assert_eq!(metrics.sum("inference_routing_stalled_streams", &[]), 1.0);
}

#[sqlx::test]
async fn a_client_that_goes_away_before_the_first_token_pays_nothing(pool: PgPool) {
    let world = World::start(pool.clone()).await;
    let body = chat(true, json!({"tokens": 5, "first_delay_ms": 60_000}));
    tokio::select! {
        _ = world.begin(&body) => panic!("nothing comes"),
        () = wait_for("the engine to be asked", async || world.engine.calls() == 1) => {}
    }
    wait_for("the engine to notice", async || {
        world.engine.only().cancelled
    })
    .await;
    wait_for("the bill", async || {
        crate::world::billing::events(&pool).await.len() == 1
    })
    .await;
    let event = crate::world::billing::events(&pool).await.remove(0);
    assert_eq!(event.amount_nanos, 0);
    assert_eq!(rows::ended(&pool, &event.call_id).await.outcome, 2);
}

#[sqlx::test]
async fn an_answer_that_the_engine_cuts_is_billed_as_far_as_it_came(pool: PgPool) {
    let world = World::start(pool.clone()).await;
    let script = json!({"tokens": 10, "cut_after": 4, "delay_ms": 5});
    let got = world.call(&chat(true, script)).await.unwrap();
    assert_eq!(got.frames.len(), 4);
    assert_eq!(got.error.unwrap()["error"]["code"], "engine_failed");
    let row = rows::ended(&pool, &got.call_id).await;
    assert_eq!((row.outcome, row.output_tokens), (3, 4));
}

#[sqlx::test]
async fn an_engine_that_hangs_is_given_up(pool: PgPool) {
    let world = World::with(pool.clone(), |config| {
        config.engines.token_timeout = std::time::Duration::from_millis(100);
    })
    .await;
    let got = world
        .call(&chat(true, json!({"tokens": 10, "hang_after": 2})))
        .await
        .unwrap();
    assert!(got.error.is_some());
    assert_eq!(rows::ended(&pool, &got.call_id).await.output_tokens, 2);
    wait_for("the engine to notice", async || {
        world.engine.only().cancelled
    })
    .await;
}

#[sqlx::test]
async fn an_answer_that_is_cut_before_its_first_token_costs_nothing(pool: PgPool) {
    let world = World::start(pool.clone()).await;
    let error = world
        .call(&chat(true, json!({"tokens": 10, "cut_after": 0})))
        .await
        .unwrap_err();
    assert!(matches!(
        error,
        inference_routing::Error::EngineUnavailable(_)
    ));
    let event = crate::world::billing::events(&pool).await.remove(0);
    assert_eq!(rows::ended(&pool, &event.call_id).await.amount_nanos, 0);
}

/// Who calls learns of the stop a moment later.
#[sqlx::test]
async fn a_call_that_comes_after_the_signal_to_stop_is_answered_and_paid(pool: PgPool) {
    let mut world = World::start(pool.clone()).await;
    let body = chat(true, json!({"tokens": 3}));
    world.call(&body).await.unwrap();
    world.stop.cancel();
    // Long enough for all that waits for nothing else to have ended.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let got = world.call(&body).await.unwrap();
    assert_eq!(got.error, None);
    let row = rows::ended(&pool, &got.call_id).await;
    assert_eq!((row.outcome, row.output_tokens), (1, 3));
    world.shut_down().await;
    let account = world.caller.account_id;
    let paid = 2 * (9 * 2 + 3 * 10);
    assert_eq!(world.billing.settle(account).await, 1_000_000_000 - paid);
}

#[sqlx::test]
async fn after_the_first_token_nobody_else_is_asked(pool: PgPool) {
    let other = FakeEngine::start().await;
    let url = other.url.clone();
    let world = World::with(pool.clone(), |sections| {
        let more = config(&[&url]).models.remove(0).engines;
        sections.models[0].engines.extend(more);
    })
    .await;
    for _ in 0..4 {
        let script = json!({"tokens": 10, "cut_after": 2, "delay_ms": 5});
        let got = world.call(&chat(true, script)).await.unwrap();
        assert_eq!(got.frames.len(), 2);
        assert_eq!(got.error.unwrap()["error"]["code"], "engine_failed");
        assert_eq!(rows::ended(&pool, &got.call_id).await.attempts, 1);
    }
    // Whichever of the two was asked: once for each call.
    assert_eq!(world.engine.calls() + other.calls(), 4);
}

#[sqlx::test]
async fn an_engine_that_does_not_begin_is_given_up(pool: PgPool) {
    for (stream, limit) in [(true, "first token"), (false, "whole answer")] {
        let world = World::with(pool.clone(), |config| {
            let short = Duration::from_millis(100);
            match stream {
                true => config.engines.first_token_timeout = short,
                false => config.engines.answer_timeout = short,
            }
            // It says that it is well; nobody asks.
            config.engines.probe_every = Duration::from_secs(3600);
        })
        .await;
        let begun = Instant::now();
        let script = json!({"tokens": 1, "first_delay_ms": 60_000});
        let error = world.call(&chat(stream, script)).await.unwrap_err();
        assert!(
            matches!(error, Error::EngineUnavailable(_)),
            "{limit}: {error:?}"
        );
        assert!(begun.elapsed() < Duration::from_secs(5), "{limit}");
        wait_for("the engine to notice", async || {
            world.engine.only().cancelled
        })
        .await;
    }
}

#[sqlx::test]
async fn a_client_that_goes_away_before_its_answer_begins_stops_the_engine_and_pays_nothing(
    pool: PgPool,
) {
    for stream in [true, false] {
        let world = World::start(pool.clone()).await;
        let slow = chat(stream, json!({"tokens": 2, "first_delay_ms": 60_000}));
        {
            let waiting = world.begin(&slow);
            let asked = wait_for("the engine to be asked", async || world.engine.calls() == 1);
            tokio::select! {
                _ = waiting => panic!("it began"),
                () = asked => {}
            }
        }
        wait_for("the engine to notice", async || {
            world.engine.only().cancelled
        })
        .await;
        wait_for("the final row", async || {
            let free = "select count(*) from calls where outcome <> 0 and output_tokens > 0";
            let gone = "select count(*) from calls where outcome = 2";
            let count = async |sql: &'static str| {
                let count: i64 = sqlx::query_scalar(sql).fetch_one(&pool).await.unwrap();
                count
            };
            assert_eq!(count(free).await, 0);
            count(gone).await == if stream { 1 } else { 2 }
        })
        .await;
    }
}

#[sqlx::test]
async fn a_stream_whose_first_token_is_long_in_coming_begins_without_it(pool: PgPool) {
    let world = World::with(pool.clone(), |config| {
        config.chat.begin_after = Duration::from_millis(50);
        config.engines.first_token_timeout = Duration::from_millis(600);
    })
    .await;
    let slow = |delay: u64| chat(true, json!({"tokens": 2, "first_delay_ms": delay}));
    let reply = world.begin(&slow(300)).await.unwrap();
    assert!(!reply.has_begun());
    let got = read(reply).await;
    assert!(got.error.is_none() && got.text() == "词0 词1 ", "{got:?}");
    // What is found out after that is the end of the stream.
    let mut reply = world.begin(&slow(60_000)).await.unwrap();
    let refused = reply.next().await.unwrap().unwrap_err();
    assert!(
        matches!(refused, Error::EngineUnavailable(_)),
        "{refused:?}"
    );
    assert!(reply.next().await.is_none());
    let row = rows::ended(&pool, &reply.call_id.to_string()).await;
    assert_eq!((row.outcome, row.output_tokens), (3, 0));
}

#[sqlx::test]
async fn a_stream_that_takes_too_long_is_cut_and_billed_as_far_as_it_came(pool: PgPool) {
    let world = World::with(pool.clone(), |config| {
        config.engines.call_timeout = Duration::from_millis(300);
    })
    .await;
    let script = json!({"tokens": 1_000, "delay_ms": 20});
    let got = world.call(&chat(true, script)).await.unwrap();
    assert_eq!(
        got.error.as_ref().unwrap()["error"]["code"],
        "engine_failed"
    );
    let row = rows::ended(&pool, &got.call_id).await;
    let came = got.frames.len() as i64;
    assert!((1..=20).contains(&came), "{came}");
    assert_eq!((row.outcome, row.output_tokens), (3, came));
    wait_for("the engine to notice", async || {
        world.engine.only().cancelled
    })
    .await;
}
