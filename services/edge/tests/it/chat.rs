pub mod clients;

use std::time::{Duration, Instant};

use reqwest::RequestBuilder;
use serde_json::{Value, json};
use wanwu_access::Subject;

use crate::world::World;

const CHAT: &str = "/v1/chat/completions";

fn ask(world: &World, key: &str, body: &Value) -> RequestBuilder {
    world.post(CHAT).bearer_auth(key).json(body)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_in_one_piece_is_json() {
    let world = World::start().await;
    let (key, account) = world.identity.key(&["chat"]);
    let body = json!({"text": "{\"id\": 1}", "unknown_field": [1, 2.50, null]});
    let answer = ask(&world, &key, &body)
        .header("wanwu-device", "wd-token")
        .header("idempotency-key", "once")
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["content-type"], "application/json");
    assert_eq!(answer.headers()["wanwu-call-id"], "call-1");
    assert_eq!(
        answer.headers()["x-request-id"],
        answer.headers()["wanwu-request-id"]
    );
    assert_eq!(answer.text().await.unwrap(), "{\"id\": 1}");
    let requests = world.inference.requests.lock();
    let (caller, request) = &requests[0];
    assert_eq!(request.body, body.to_string());
    assert_eq!(
        (
            request.device_token.as_str(),
            request.idempotency_key.as_str()
        ),
        ("wd-token", "once")
    );
    let Subject::AppKey { account_id, .. } = caller.subject else {
        panic!("it is a key");
    };
    assert_eq!(account_id.uuid(), account);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_is_server_sent_events() {
    let world = World::start().await;
    let (key, _) = world.identity.key(&["chat"]);
    let body = json!({"stream": true, "n": 2, "delay_ms": 300});
    let begun = Instant::now();
    let mut answer = ask(&world, &key, &body).send().await.unwrap();
    assert_eq!(
        answer.headers()["content-type"],
        "text/event-stream; charset=utf-8"
    );
    let first = answer.chunk().await.unwrap().unwrap();
    assert_eq!(first, "data: {\"number\":0}\n\n");
    assert!(
        begun.elapsed() < Duration::from_millis(280),
        "the first event was held back"
    );
    let rest = answer.text().await.unwrap();
    assert_eq!(rest, "data: {\"number\":1}\n\ndata: [DONE]\n\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_a_model_is_told_in_headers() {
    let world = World::start().await;
    let (key, _) = world.identity.key(&["chat"]);
    let end = "Thu, 31 Dec 2026 16:00:00 GMT";
    let ending = json!({"sunset": end});
    let answer = ask(&world, &key, &ending).send().await.unwrap();
    assert_eq!(answer.headers()["deprecation"], "@1764000000");
    assert_eq!(answer.headers()["sunset"], end);
    let answer = ask(&world, &key, &json!({})).send().await.unwrap();
    assert!(!answer.headers().contains_key("deprecation"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_body_passes_whole() {
    let world = World::start().await;
    let (key, _) = world.identity.key(&["chat"]);
    let body = json!({"padding": "x".repeat(4 << 20)}).to_string();
    let body = &body[..(4 << 20)];
    let answer = world.post(CHAT).bearer_auth(&key).body(body.to_owned());
    assert_eq!(answer.send().await.unwrap().status(), 200);
    assert_eq!(world.inference.requests.lock()[0].1.body, body);
    let larger = world.post(CHAT).bearer_auth(&key).body(format!("{body}x"));
    let answer = larger.send().await.unwrap();
    assert_eq!(answer.status(), 413);
    let error: Value = answer.json().await.unwrap();
    assert_eq!(error["error"]["code"], "request_too_large");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_ends_a_stream_without_done() {
    let world = World::start().await;
    let (key, _) = world.identity.key(&["chat"]);
    let broken = json!({"stream": true, "error_at": 1});
    let text = ask(&world, &key, &broken)
        .send()
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    assert_eq!(text, "data: {\"number\":0}\n\ndata: {\"number\":1}\n\n");
    let failed = json!({"stream": true, "n": 1, "fail_at_end": "ENGINE_UNAVAILABLE"});
    let text = ask(&world, &key, &failed)
        .send()
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    let events: Vec<_> = text.split_terminator("\n\n").collect();
    assert_eq!(events.len(), 2, "{text}");
    let error: Value = serde_json::from_str(events[1].strip_prefix("data: ").unwrap()).unwrap();
    assert_eq!(error["error"]["code"], "engine_unavailable");
    // An error in place of the first frame is no answer at all.
    let at_once = json!({"stream": true, "error_at": 0, "text": "{\"error\":{}}"});
    let answer = ask(&world, &key, &at_once).send().await.unwrap();
    assert_eq!(answer.status(), 503);
    assert_eq!(answer.headers()["x-should-retry"], "false");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_stream_is_kept_alive() {
    let world = World::start_with("[limits]\nkeep_alive = '100ms'").await;
    let (key, _) = world.identity.key(&["chat"]);
    let body = json!({"stream": true, "n": 2, "delay_ms": 450});
    let text = ask(&world, &key, &body)
        .send()
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    let comments = text.matches(": keep-alive\n\n").count();
    assert!((4..=9).contains(&comments), "{text}");
    assert!(text.ends_with("data: [DONE]\n\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_begins_without_its_first_frame_is_kept_alive() {
    let world = World::start_with("[limits]\nkeep_alive = '100ms'").await;
    let (key, _) = world.identity.key(&["chat"]);
    let body = json!({"stream": true, "n": 1, "first_delay_ms": 450});
    let begin = Instant::now();
    let mut answer = ask(&world, &key, &body).send().await.unwrap();
    assert_eq!(answer.headers()["wanwu-call-id"], "call-1");
    assert_eq!(answer.chunk().await.unwrap().unwrap(), ": keep-alive\n\n");
    assert!(begin.elapsed() < Duration::from_millis(400));
    let text = answer.text().await.unwrap();
    let comments = text.matches(": keep-alive\n\n").count();
    assert!((2..=4).contains(&comments), "{text}");
    assert!(text.ends_with("data: {\"number\":0}\n\ndata: [DONE]\n\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_in_a_stream_that_begins_without_its_first_frame_says_when_to_come_again() {
    let world = World::start().await;
    let (key, _) = world.identity.key(&["chat"]);
    let cases = [
        ("BUSY", "rate_limit_exceeded", json!(3)),
        // As the header has it where nothing more exact is known.
        ("ENGINE_UNAVAILABLE", "engine_unavailable", json!(1)),
        ("INSUFFICIENT_BALANCE", "insufficient_quota", Value::Null),
    ];
    for (reason, code, seconds) in cases {
        let body = json!({"stream": true, "n": 0, "first_delay_ms": 50, "fail_at_end": reason});
        let answer = ask(&world, &key, &body).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        let text = answer.text().await.unwrap();
        let event = text.trim_end().rsplit_once("data: ").unwrap().1;
        let error: Value = serde_json::from_str(event).unwrap();
        assert_eq!(error["error"]["code"], code);
        assert_eq!(error["error"]["retry_after"], seconds, "{reason}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_are_what_the_sdks_expect() {
    let world = World::start().await;
    let (key, _) = world.identity.key(&["chat"]);
    let cases = [
        (
            "INSUFFICIENT_BALANCE",
            429,
            "insufficient_quota",
            None,
            Some("false"),
        ),
        ("BUSY", 429, "rate_limit_exceeded", Some("3"), None),
        ("MODEL_NOT_FOUND", 404, "model_not_found", None, None),
        ("CONTENT_REFUSED", 400, "content_filter", None, None),
        (
            "DEVICE_LICENCE_REQUIRED",
            403,
            "device_licence_required",
            None,
            None,
        ),
        (
            "ENGINE_UNAVAILABLE",
            503,
            "engine_unavailable",
            Some("1"),
            None,
        ),
        ("DUPLICATE_CALL", 409, "duplicate_call", None, Some("false")),
        ("INVALID_BODY", 400, "invalid_body", None, None),
    ];
    for (reason, status, code, retry_after, should_retry) in cases {
        let answer = ask(&world, &key, &json!({"refuse": reason}))
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), status, "{reason}");
        let header = |name: &str| {
            answer
                .headers()
                .get(name)
                .map(|v| v.to_str().unwrap().to_owned())
        };
        assert_eq!(header("retry-after").as_deref(), retry_after, "{reason}");
        assert_eq!(
            header("x-should-retry").as_deref(),
            should_retry,
            "{reason}"
        );
        let body: Value = answer.json().await.unwrap();
        assert_eq!(body["error"]["code"], code);
        let message = body["error"]["message"].as_str().unwrap();
        assert!(message.contains(" / "), "{message}");
        if reason == "INVALID_BODY" {
            assert_eq!(body["error"]["param"], "messages");
            assert!(message.ends_with(": messages must be there"), "{message}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_key_is_told_in_the_shape_of_openai() {
    let world = World::start().await;
    let (token, _) = world.identity.account();
    let (speech, _) = world.identity.key(&["speech"]);
    let cases = [
        (None, 401, "invalid_api_key"),
        (Some("sk-proj-abc"), 401, "invalid_api_key"),
        (Some(token.as_str()), 403, "not_allowed"),
        (Some(speech.as_str()), 403, "scope_missing"),
    ];
    for (credential, status, code) in cases {
        let mut request = world
            .post(CHAT)
            .json(&json!({"padding": "x".repeat(2 << 20)}));
        if let Some(credential) = credential {
            request = request.bearer_auth(credential);
        }
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), status);
        let body: Value = answer.json().await.unwrap();
        assert_eq!(body["error"]["code"], code);
        assert_eq!(body["error"]["param"], Value::Null);
    }
    let (key, _) = world.identity.key(&["chat"]);
    let long = ask(&world, &key, &json!({})).header("idempotency-key", "x".repeat(600));
    assert_eq!(long.send().await.unwrap().status(), 400);
    assert_eq!(
        world.get("/v1/embeddings").send().await.unwrap().status(),
        404
    );
    assert!(world.inference.requests.lock().is_empty());
}
