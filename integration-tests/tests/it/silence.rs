//! Streams whose engine is silent before its first token.

use std::time::{Duration, Instant};

use integration_tests::journey::Journey;
use serde_json::{Value, json};

use crate::world::{customer, truth};

/// Longer than inference-routing lets a stream wait for its first frame (`chat.begin_after`, ten seconds).
const SILENCE: Duration = Duration::from_secs(14);

/// Asks for a stream whose engine is silent; it begins with a comment meanwhile, and is whole in the end.
async fn kept_alive(journey: &Journey, path: &str, mut body: Value, end: &str) {
    body["stream"] = json!(true);
    body["wanwu_script"] = json!({"tokens": 3, "first_delay_ms": SILENCE.as_millis() as u64});
    let url = format!("{}/v1/{path}", journey.api().base());
    let request = journey.api().http().post(url).bearer_auth(journey.secret());
    let asked = Instant::now();
    let mut answer = request.json(&body).send().await.unwrap();
    assert_eq!(answer.status(), 200, "{path}");
    let call = answer.headers()["wanwu-call-id"].to_str().unwrap();
    let call = call.to_owned();
    let first = answer.chunk().await.unwrap().unwrap();
    assert_eq!(first, ": keep-alive\n\n", "{path}");
    let kept = asked.elapsed();
    assert!(kept < SILENCE, "{path}: {kept:?}");
    assert_eq!(truth(&call).await["tokens_sent"], 0, "{path}");

    let rest = answer.text().await.unwrap();
    assert!(asked.elapsed() >= SILENCE, "{path}: it was not silent");
    let last = rest.trim_end().rsplit("\n\n").next().unwrap();
    assert!(last.starts_with(end), "{path}: {rest}");
    let bill = journey.bill(&call).await.unwrap();
    assert_eq!(bill["outputTokens"], "3", "{path}: {bill}");
}

#[tokio::test]
async fn a_comment_keeps_a_stream_alive_whose_engine_is_silent_before_its_first_token() {
    let journey = customer().await;
    let messages = json!([{"role": "user", "content": "你好"}]);
    let chat = json!({"model": "scripted", "messages": messages});
    let response = json!({"model": "scripted", "input": "你好"});
    tokio::join!(
        kept_alive(&journey, "chat/completions", chat, "data: [DONE]"),
        kept_alive(&journey, "responses", response, "event: response.completed"),
    );
}
