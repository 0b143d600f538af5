//! Completions, responses and embeddings through the whole platform.

use integration_tests::journey::{Journey, nanos};
use serde_json::{Value, json};

use crate::world::{customer, stack};

async fn ask(journey: &Journey, path: &str, body: &Value) -> reqwest::Response {
    let url = format!("{}/v1/{path}", journey.api().base());
    let request = journey.api().http().post(url).bearer_auth(journey.secret());
    request.json(body).send().await.unwrap()
}

#[tokio::test]
async fn every_shape_is_billed_by_what_the_engine_counted() {
    let mut journey = customer().await;
    journey.key_for(&["chat", "embedding"]).await.unwrap();
    let (input, output) = journey.price("scripted").await.unwrap();
    let script = |tokens: u32| json!({"tokens": tokens});
    let cases = [
        (
            "completions",
            json!({"model": "scripted", "prompt": "从前", "wanwu_script": script(7)}),
            (2, 7),
        ),
        (
            "completions",
            json!({"model": "scripted", "prompt": "从前", "stream": true, "wanwu_script": script(9)}),
            (2, 9),
        ),
        (
            "responses",
            json!({"model": "scripted", "input": "你好吗", "wanwu_script": script(5)}),
            (3, 5),
        ),
        (
            "responses",
            json!({"model": "scripted", "input": "你好吗", "stream": true, "wanwu_script": script(11)}),
            (3, 11),
        ),
        (
            "embeddings",
            json!({"model": "scripted", "input": ["你好", "世界和平"]}),
            (6, 0),
        ),
    ];
    for (path, body, (read, written)) in cases {
        let answer = ask(&journey, path, &body).await;
        assert_eq!(answer.status(), 200, "{path}");
        let call = answer.headers()["wanwu-call-id"]
            .to_str()
            .unwrap()
            .to_owned();
        let text = answer.text().await.unwrap();
        let labels = text.matches("\"aigc\":{").count();
        let expected = match (path, body["stream"] == true) {
            ("embeddings", _) => 0,
            (_, true) => 2,
            (_, false) => 1,
        };
        assert_eq!(labels, expected, "{text}");
        assert_eq!(
            text.contains("[DONE]"),
            path == "completions" && expected == 2
        );
        let bill = journey.bill(&call).await.unwrap();
        let amount = read * input + written * output;
        assert_eq!(nanos(&bill["amount"]), amount, "{path}: {bill}");
        assert_eq!(bill["usageSource"], "engine");
    }
}

#[tokio::test]
async fn a_client_that_leaves_a_response_stops_the_engine() {
    let journey = customer().await;
    let body = json!({"model": "scripted", "input": "你好", "stream": true,
        "wanwu_script": {"tokens": 500, "delay_ms": 10}});
    let mut answer = ask(&journey, "responses", &body).await;
    let call = answer.headers()["wanwu-call-id"]
        .to_str()
        .unwrap()
        .to_owned();
    let mut seen = Vec::new();
    while !String::from_utf8_lossy(&seen).contains("output_text.delta") {
        seen.extend_from_slice(&answer.chunk().await.unwrap().unwrap());
    }
    drop(answer);
    let bill = journey.bill(&call).await.unwrap();
    let url = format!("{}/_truth?call={call}", stack().simulator("engine"));
    let truth: Value = reqwest::get(url).await.unwrap().json().await.unwrap();
    assert_eq!(truth["ending"], "cancelled");
    let sent = truth["tokens_sent"].as_i64().unwrap();
    let billed: i64 = bill["outputTokens"].as_str().unwrap().parse().unwrap();
    assert!((1..=sent).contains(&billed), "{billed} of {sent}");
}
