//! Responses and embeddings in OpenAI's shape.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn events_of_a_response_have_their_names_and_the_last_one_ends_it() {
    let world = World::start().await;
    let (key, _) = world.identity.key(&["chat"]);
    let ask = |body: Value| world.post("/v1/responses").bearer_auth(&key).json(&body);
    let answer = ask(json!({"stream": true})).send().await.unwrap();
    assert_eq!(answer.headers()["wanwu-call-id"], "call-1");
    assert_eq!(
        answer.text().await.unwrap(),
        "event: response.created\ndata: {}\n\nevent: response.completed\ndata: {}\n\n"
    );
    let broken = json!({"stream": true, "fail_at_end": "ENGINE_UNAVAILABLE"});
    let text = ask(broken).send().await.unwrap().text().await.unwrap();
    let last = text.trim_end().rsplit("\n\n").next().unwrap();
    assert!(
        last.starts_with("event: error\ndata: {\"error\":"),
        "{last}"
    );
    let whole = ask(json!({})).send().await.unwrap();
    assert_eq!(whole.headers()["content-type"], "application/json");
    assert_eq!(whole.text().await.unwrap(), "{}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_response_whose_end_comes_after_its_last_event_ends_then() {
    let world = World::start().await;
    let (key, _) = world.identity.key(&["chat"]);
    let body = json!({"stream": true, "end_after_ms": 300});
    let begun = Instant::now();
    let asked = world.post("/v1/responses").bearer_auth(&key).json(&body);
    let text = asked.send().await.unwrap().text().await.unwrap();
    // Not when the silence is long enough for a comment.
    let elapsed = begun.elapsed();
    assert!(elapsed < Duration::from_secs(10), "{elapsed:?}");
    assert!(
        text.ends_with("event: response.completed\ndata: {}\n\n"),
        "{text}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn embeddings_are_one_document_and_need_their_own_scope() {
    let world = World::start().await;
    let (key, _) = world.identity.key(&["embedding"]);
    let (chat, _) = world.identity.key(&["chat"]);
    let ask = |key: &str, body: Value| {
        let request = world.post("/v1/embeddings").bearer_auth(key);
        request.json(&body).send()
    };
    let body = json!({"input": ["a", "b"], "unknown_field": [1, 2.50]});
    let answer = ask(&key, body.clone()).await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["wanwu-call-id"], "call-1");
    assert!(answer.headers().contains_key("x-request-id"));
    assert_eq!(answer.text().await.unwrap(), body.to_string());
    // The call was made: asking again would make it once more.
    let failed = ask(&key, json!({"error": {}})).await.unwrap();
    assert_eq!(failed.status(), 503);
    assert_eq!(failed.headers()["x-should-retry"], "false");
    let refused = ask(&chat, body).await.unwrap();
    assert_eq!(refused.status(), 403);
    let error: Value = refused.json().await.unwrap();
    assert_eq!(error["error"]["code"], "scope_missing");
}
