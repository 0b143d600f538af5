//! Kinds of tokens are kept apart, charged at their own prices, and never charged twice.

use std::time::Duration;

use futures::StreamExt;
use serde_json::json;
use sqlx::PgPool;
use wanwu_proto::billing::v1::Unit;

use crate::world::{INPUT_PRICE, OUTPUT_PRICE, World, chat, engine::PROMPT_TOKENS, rows, wait_for};

const PROMPT: i64 = PROMPT_TOKENS as i64;

#[sqlx::test]
async fn cached_and_reasoning_tokens_are_charged_at_their_own_prices(pool: PgPool) {
    let world = World::start(pool.clone()).await;
    world.billing.price(Unit::CachedInputToken, 1);
    world.billing.price(Unit::ReasoningToken, 50);
    world.billing.price(Unit::Call, 777);
    for stream in [true, false] {
        let script = json!({"tokens": 5, "cached": 4, "reasoning": 2});
        let got = world.call(&chat(stream, script)).await.unwrap();
        assert_eq!(got.error, None);
        let row = rows::ended(&pool, &got.call_id).await;
        assert_eq!((row.input_tokens, row.output_tokens), (PROMPT, 5));
        let parts = json!({"cached_input_token": 4, "reasoning_token": 2, "call": 1});
        assert_eq!(row.parts, Some(parts));
        let input = 4 + (PROMPT - 4) * INPUT_PRICE;
        let output = 2 * 50 + 3 * OUTPUT_PRICE;
        assert_eq!(row.amount_nanos, input + output + 777, "stream: {stream}");
        assert_eq!(row.usage_source.as_deref(), Some("engine"));
    }
}

#[sqlx::test]
async fn audio_and_image_tokens_are_charged_at_their_own_prices(pool: PgPool) {
    let world = World::start(pool.clone()).await;
    world.billing.price(Unit::AudioInputToken, 700);
    world.billing.price(Unit::ImageInputToken, 80);
    world.billing.price(Unit::AudioOutputToken, 9_000);
    let usage = json!({"prompt_tokens": 20, "completion_tokens": 4,
        "prompt_tokens_details": {"audio_tokens": 3, "image_tokens": 5},
        "completion_tokens_details": {"audio_tokens": 2}});
    let whole = json!({"choices": [{"index": 0, "message": {"role": "assistant", "content": "a"},
        "finish_reason": "stop"}], "usage": usage});
    let chunk = json!({"choices": [{"index": 0, "delta": {"content": "a"},
        "finish_reason": "stop"}]});
    let last = json!({"choices": [], "usage": usage});
    let stream = [chunk.to_string(), last.to_string(), "[DONE]".to_owned()];
    for (streamed, says) in [(true, stream.to_vec()), (false, vec![whole.to_string()])] {
        let body = chat(streamed, json!({"verbatim": says}));
        let got = world.call(&body).await.unwrap();
        assert_eq!(got.error, None);
        let row = rows::ended(&pool, &got.call_id).await;
        assert_eq!((row.input_tokens, row.output_tokens), (20, 4));
        let parts =
            json!({"audio_input_token": 3, "image_input_token": 5, "audio_output_token": 2});
        assert_eq!(row.parts, Some(parts), "stream: {streamed}");
        let input = 3 * 700 + 5 * 80 + 12 * INPUT_PRICE;
        let output = 2 * 9_000 + 2 * OUTPUT_PRICE;
        assert_eq!(row.amount_nanos, input + output);
    }
}

#[sqlx::test]
async fn parts_without_a_price_are_kept_apart_and_charged_as_what_they_are_part_of(pool: PgPool) {
    let world = World::start(pool.clone()).await;
    let script = json!({"tokens": 5, "cached": 4});
    let got = world.call(&chat(true, script)).await.unwrap();
    let row = rows::ended(&pool, &got.call_id).await;
    assert_eq!(row.parts, Some(json!({"cached_input_token": 4})));
    let whole = PROMPT * INPUT_PRICE + 5 * OUTPUT_PRICE;
    assert_eq!(row.amount_nanos, whole);
}

#[sqlx::test]
async fn an_engine_that_tells_more_parts_than_there_are_tokens_is_cut_down(pool: PgPool) {
    let world = World::start(pool.clone()).await;
    world
        .billing
        .price(Unit::CachedInputToken, INPUT_PRICE * 100);
    let script = json!({"tokens": 1, "cached": 1_000_000});
    let got = world.call(&chat(true, script)).await.unwrap();
    let row = rows::ended(&pool, &got.call_id).await;
    assert_eq!(row.parts, Some(json!({"cached_input_token": PROMPT})));
    let amount = PROMPT * INPUT_PRICE * 100 + OUTPUT_PRICE;
    assert_eq!(row.amount_nanos, amount);
}

#[sqlx::test]
async fn what_is_held_covers_the_dearest_kind_of_token(pool: PgPool) {
    let world = World::start(pool.clone()).await;
    let dear = OUTPUT_PRICE * 1_000;
    world.billing.price(Unit::ReasoningToken, dear);
    // Enough for the prompt's bound and so many tokens that turn out to be reasoning.
    let account = world.caller.account_id;
    let body = chat(true, json!({"tokens": 100, "reasoning": 100}));
    let bytes = body.to_string().len() as i64 + 16;
    let credit = bytes * INPUT_PRICE + 20 * dear;
    world.billing.set(account, credit);
    let got = world.call(&body).await.unwrap();
    assert_eq!(got.error, None);
    let seen: serde_json::Value = serde_json::from_slice(&world.engine.only().body).unwrap();
    assert_eq!(seen["max_tokens"], 20, "no longer than the credit covers");
    let row = rows::ended(&pool, &got.call_id).await;
    assert_eq!(row.parts, Some(json!({"reasoning_token": 20})));
    assert_eq!(row.amount_nanos, PROMPT * INPUT_PRICE + 20 * dear);
    assert!(row.amount_nanos <= credit);
}

#[sqlx::test]
async fn after_a_kill_the_parts_of_the_last_progress_are_charged_at_their_prices(pool: PgPool) {
    let hasty = |config: &mut inference_routing::config::Sections| {
        config.epoch.renew_every = Duration::from_millis(50);
        config.epoch.refuse_after = Duration::from_millis(200);
        config.epoch.ttl = Duration::from_millis(500);
        config.epoch.recover_every = Duration::from_millis(50);
        config.models[0].continuous_usage = true;
    };
    let mut world = World::with(pool.clone(), hasty).await;
    world.billing.price(Unit::CachedInputToken, 1);
    world.billing.price(Unit::ReasoningToken, 50);
    let script = json!({"tokens": 90, "hang_after": 30, "cached": 4, "reasoning": 7});
    let mut reply = world.begin(&chat(true, script)).await.unwrap();
    let call = reply.call_id.to_string();
    for _ in 0..30 {
        reply.next().await.unwrap().unwrap();
    }
    wait_for("progress", async || {
        rows::find(&pool, &call).await.unwrap().progress_output == Some(30)
    })
    .await;
    world.kill();
    let _second = world.second(hasty).await;
    let row = rows::ended(&pool, &call).await;
    assert_eq!((row.outcome, row.output_tokens), (5, 30));
    let parts = json!({"cached_input_token": 4, "reasoning_token": 7});
    assert_eq!(row.parts, Some(parts));
    let input = 4 + (PROMPT - 4) * INPUT_PRICE;
    assert_eq!(row.amount_nanos, input + 7 * 50 + 23 * OUTPUT_PRICE);
}
