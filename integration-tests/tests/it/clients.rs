//! What clients of the OpenAI API see.

use serde_json::{Value, json};

use crate::world::{customer, reason, scripted, stack};

#[tokio::test]
async fn every_field_that_we_do_not_know_reaches_the_engine_unchanged() {
    let journey = customer().await;
    let mut body = scripted(json!({"tokens": 2}));
    for (name, value) in [
        ("temperature", json!(0.25)),
        ("top_p", json!(0.9)),
        ("seed", json!(42)),
        ("stop", json!(["a", "b"])),
        ("logit_bias", json!({"50256": -100})),
        (
            "tools",
            json!([{"type": "function", "function": {"name": "f", "parameters": {}}}]),
        ),
        ("tool_choice", json!("auto")),
        (
            "response_format",
            json!({"type": "json_schema", "json_schema": {"name": "x"}}),
        ),
        ("user", json!("u-1")),
        ("metadata", json!({"k": "v"})),
        ("presence_penalty", json!(0.1)),
        ("frequency_penalty", json!(0.2)),
        ("reasoning_effort", json!("low")),
        (
            "something_new",
            json!({"nested": [1, 2.50, "三", null, true]}),
        ),
    ] {
        body[name] = value;
    }
    let answer = journey.chat(body.clone()).await.unwrap();
    let truth = format!(
        "{}/_truth?call={}",
        stack().simulator("engine"),
        answer.call_id
    );
    let truth: Value = journey
        .api()
        .http()
        .get(truth)
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    let arrived: Value = serde_json::from_str(truth["body"].as_str().unwrap()).unwrap();
    for (name, value) in body.as_object().unwrap() {
        assert_eq!(&arrived[name], value, "{name}");
    }
}

#[tokio::test]
async fn refusals_have_the_statuses_and_codes_that_the_sdks_know() {
    let journey = customer().await;
    let question = json!([{"role": "user", "content": "x"}]);
    let unknown = json!({"model": "no-such-model", "messages": question});
    assert_eq!(
        reason(journey.chat(unknown).await),
        (404, "model_not_found".to_owned())
    );
    let large = "长".repeat(2 << 20);
    let large = json!({"model": "scripted", "messages": [{"role": "user", "content": large}]});
    assert_eq!(reason(journey.chat(large).await).0, 413);
    let image = json!({"model": "scripted", "messages": [{"role": "user", "content": [
        {"type": "image_url", "image_url": {"url": "http://127.0.0.1/x.png"}}]}]});
    assert_eq!(reason(journey.chat(image).await).0, 400);
    let nobody = journey
        .api()
        .http()
        .post(format!("{}/v1/chat/completions", journey.api().base()))
        .bearer_auth("wk-nonsense")
        .json(&scripted(json!({})))
        .send()
        .await
        .unwrap();
    assert_eq!(nobody.status(), 401);
    let nobody: Value = nobody.json().await.unwrap();
    assert_eq!(nobody["error"]["code"], "invalid_api_key");
}

#[tokio::test]
async fn usage_is_given_only_to_who_asked_for_it() {
    let journey = customer().await;
    let mut body = scripted(json!({"tokens": 4}));
    body["stream_options"] = json!({"include_usage": false});
    let answer = journey.chat_stream(body, |_| ()).await.unwrap();
    assert!(answer.usage.is_null(), "{}", answer.usage);
    assert!(answer.done);
}

#[tokio::test]
async fn a_term_of_the_lexicon_is_refused_at_the_input_and_stops_the_output() {
    let journey = customer().await;
    let body = json!({"model": "scripted", "messages": [
        {"role": "user", "content": "请谈谈wanwu-demo-forbidden这个词"}]});
    assert_eq!(
        reason(journey.chat(body).await),
        (400, "content_filter".to_owned())
    );

    let parts = ["天气", "很好，", "万物演", "示违规词", "之后", "的话"];
    let answer = journey
        .chat_stream(scripted(json!({"text": parts})), |_| ())
        .await
        .unwrap();
    assert_eq!(answer.finish_reason, "content_filter");
    assert_eq!(answer.text, "天气很好，", "nothing of the term went out");
    let bill = journey.bill(&answer.call_id).await.unwrap();
    assert_eq!(bill["outputTokens"], "2", "what was sent is billed");
}
