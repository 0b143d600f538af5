//! The label of AI-generated content, and the content screen on answers.

use serde_json::{Value, json};
use sqlx::PgPool;

use crate::{
    metrics::Metrics,
    world::{World, chat, rows, wait_for},
};

fn labelled(frames: &[Value]) -> Vec<bool> {
    frames
        .iter()
        .map(|frame| frame.get("aigc").is_some())
        .collect()
}

#[sqlx::test]
async fn the_first_and_the_last_chunk_are_labelled(pool: PgPool) {
    let world = World::with(pool, |config| {
        config.models[0].label_route = Some("QW05".to_owned());
    })
    .await;
    let reply = world
        .begin(&chat(true, json!({"tokens": 3})))
        .await
        .unwrap();
    let label: Value = serde_json::from_str(&reply.label).unwrap();
    let got = crate::world::read(reply).await;
    assert_eq!(labelled(&got.frames), [true, false, false, true]);
    assert_eq!(got.frames[0]["aigc"], label);
    assert_eq!(label["ContentProducer"], "001192000000WANWUDEM9K1QW05");
    assert_eq!(
        (&label["Label"], &label["ProduceID"]),
        (&json!("1"), &json!(got.call_id))
    );
    assert_eq!(label.as_object().unwrap().len(), 7);
}

#[sqlx::test]
async fn an_answer_with_a_term_is_stopped_and_what_was_sent_is_billed(pool: PgPool) {
    let metrics = Metrics::collected();
    let world = World::start(pool.clone()).await;
    let tail = format!("违规词，{}", "再见".repeat(200));
    let script = json!({"text": ["好的，万物演示", tail], "delay_ms": 2});
    let got = world.call(&chat(true, script)).await.unwrap();
    assert_eq!(got.text(), "好的，");
    let last = got.frames.last().unwrap();
    assert_eq!(last["choices"][0]["finish_reason"], "content_filter");
    assert!(last.get("aigc").is_some());
    let row = rows::ended(&pool, &got.call_id).await;
    assert_eq!((row.outcome, row.output_tokens), (4, 3));
    wait_for("the engine to notice", async || {
        world.engine.only().cancelled
    })
    .await;
    assert_eq!(violations(&pool).await, ["output"]);
    let output = [("side", "output")];
    assert_eq!(metrics.sum("inference_routing_violations", &output), 1.0);
}

#[sqlx::test]
async fn a_whole_answer_with_a_term_is_withheld(pool: PgPool) {
    let world = World::start(pool.clone()).await;
    let script = json!({"text": ["see WANWU-demo", "-forbidden"]});
    let got = world.call(&chat(false, script)).await.unwrap();
    let choice = &got.frames[0]["choices"][0];
    assert_eq!(
        (&choice["message"]["content"], &choice["finish_reason"]),
        (&json!(""), &json!("content_filter"))
    );
    assert!(got.frames[0].get("aigc").is_some());
    let row = rows::ended(&pool, &got.call_id).await;
    assert_eq!((row.outcome, row.amount_nanos), (4, 0));
    assert_eq!(violations(&pool).await, ["output"]);
}

#[sqlx::test]
async fn an_input_with_a_term_is_refused_before_it_costs_anything(pool: PgPool) {
    let world = World::start(pool.clone()).await;
    let mut body = chat(true, json!({"tokens": 1}));
    body["messages"][0]["content"] = json!([{"type": "text", "text": "a wanwu-demo-sensitive b"}]);
    let error = world.call(&body).await.unwrap_err();
    assert!(
        matches!(error, inference_routing::Error::ContentRefused { class } if class == "demo.b2")
    );
    assert_eq!(
        (
            world.engine.calls(),
            rows::count(&pool).await,
            world.billing.asked()
        ),
        (0, 0, 0)
    );
    assert_eq!(violations(&pool).await, ["input"]);
}

async fn violations(pool: &PgPool) -> Vec<String> {
    use prost::Message;
    use wanwu_proto::inference::v1::ContentViolationFound;

    let rows: Vec<Vec<u8>> = sqlx::query_scalar("select payload from outbox where type = $1")
        .bind("wanwu.inference.v1.ContentViolationFound")
        .fetch_all(pool)
        .await
        .unwrap();
    let side = |row: &Vec<u8>| ContentViolationFound::decode(row.as_slice()).unwrap().side;
    rows.iter().map(side).collect()
}
