//! Answers that end as they should.

use serde_json::{Value, json};
use sqlx::PgPool;

use crate::world::{World, chat, engine::PROMPT_TOKENS, rows};

#[sqlx::test]
async fn a_streamed_answer_is_billed_by_the_engines_usage(pool: PgPool) {
    let world = World::start(pool.clone()).await;
    let got = world.call(&chat(true, json!({"tokens": 5}))).await.unwrap();
    assert_eq!(got.text(), "词0 词1 词2 词3 词4 ");
    assert_eq!(got.error, None);
    let row = rows::ended(&pool, &got.call_id).await;
    assert_eq!(
        (row.outcome, row.input_tokens, row.output_tokens),
        (1, PROMPT_TOKENS as i64, 5)
    );
    assert_eq!(row.usage_source.as_deref(), Some("engine"));
}

#[sqlx::test]
async fn an_answer_in_one_piece_is_billed_and_labelled(pool: PgPool) {
    let world = World::start(pool.clone()).await;
    let got = world
        .call(&chat(false, json!({"tokens": 4})))
        .await
        .unwrap();
    let [answer] = got.frames.as_slice() else {
        panic!("one frame")
    };
    assert_eq!(answer["choices"][0]["message"]["content"], "字字字字");
    assert_eq!(
        (&answer["model"], &answer["usage"]["completion_tokens"]),
        (&json!("test"), &json!(4))
    );
    assert_eq!(answer["aigc"]["ProduceID"], got.call_id.as_str());
    let row = rows::ended(&pool, &got.call_id).await;
    assert_eq!(
        (row.outcome, row.input_tokens, row.output_tokens),
        (1, PROMPT_TOKENS as i64, 4)
    );
}

#[sqlx::test]
async fn the_engine_gets_the_clients_bytes_with_three_changes_at_most(pool: PgPool) {
    let world = World::start(pool).await;
    let body = "{ \"odd\" : [1.50, {\"\\u4f60\":null}],\"model\":\"test\",\"max_tokens\":3, \"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],\"wanwu_script\":{\"tokens\":1}}";
    let mut request = world.request(&Value::Null);
    request.body = body.into();
    let reply = world.app.chat.create(request).await.unwrap();
    let sent = world.engine.seen(&reply.call_id.to_string()).unwrap().body;
    assert_eq!(sent, body.replace("\"test\"", "\"engine-test\"").as_bytes());
}

#[sqlx::test]
async fn a_stream_asks_the_engine_for_usage_and_gets_a_limit(pool: PgPool) {
    let world = World::start(pool).await;
    let got = world.call(&chat(true, json!({"tokens": 1}))).await.unwrap();
    let body: Value = serde_json::from_slice(&world.engine.only().body).unwrap();
    assert_eq!(body["stream_options"], json!({"include_usage": true}));
    assert_eq!(body["max_tokens"], 100);
    assert_eq!(got.text(), "词0 ");
    assert!(got.frames.iter().all(|frame| frame.get("usage").is_none()));
    assert!(got.frames.iter().all(|frame| frame["model"] == "test"));
}

#[sqlx::test]
async fn usage_is_in_the_stream_when_it_was_asked_for(pool: PgPool) {
    let world = World::with(pool, |config| config.models[0].continuous_usage = true).await;
    let mut body = chat(true, json!({"tokens": 3}));
    body["stream_options"] = json!({"include_usage": true});
    let got = world.call(&body).await.unwrap();
    let usages: Vec<bool> = got
        .frames
        .iter()
        .map(|f| f.get("usage").is_some())
        .collect();
    assert_eq!(usages, [false, false, false, false, true]);
    assert_eq!(got.frames[4]["usage"]["completion_tokens"], 3);
    assert!(got.frames[4].get("aigc").is_some());
    body["stream_options"]["continuous_usage_stats"] = json!(true);
    let got = world.call(&body).await.unwrap();
    assert!(
        got.frames[..3]
            .iter()
            .all(|frame| frame.get("usage").is_some())
    );
}

#[sqlx::test]
async fn an_engine_that_tells_no_usage_is_counted_and_marked(pool: PgPool) {
    let world = World::start(pool.clone()).await;
    let got = world
        .call(&chat(true, json!({"tokens": 6, "no_usage": true})))
        .await
        .unwrap();
    let row = rows::ended(&pool, &got.call_id).await;
    // The message is 18 bytes of text and two quotes: a quarter of 20.
    assert_eq!((row.output_tokens, row.input_tokens), (6, 5));
    assert_eq!(row.usage_source.as_deref(), Some("estimate"));
}

#[sqlx::test]
async fn a_bill_never_exceeds_its_hold(pool: PgPool) {
    let world = World::start(pool.clone()).await;
    let mut body = chat(true, json!({"tokens": 50}));
    body["max_tokens"] = json!(3);
    let got = world.call(&body).await.unwrap();
    assert_eq!(rows::ended(&pool, &got.call_id).await.output_tokens, 3);
}

#[sqlx::test]
async fn many_calls_at_once_have_one_bill_each(pool: PgPool) {
    let world = World::start(pool.clone()).await;
    let calls = (0..60).map(|n| {
        let world = &world;
        async move {
            let got = world
                .call(&chat(n % 2 == 0, json!({"tokens": n, "delay_ms": 1})))
                .await;
            (n, got.unwrap().call_id)
        }
    });
    for (n, call) in futures::future::join_all(calls).await {
        assert_eq!(rows::ended(&pool, &call).await.output_tokens, n);
    }
    assert_eq!(rows::count(&pool).await, 60);
}
