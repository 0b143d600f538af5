//! Streams of an engine whose events do not come one in a chunk, through the whole platform.

use integration_tests::journey::Journey;
use serde_json::{Value, json};

use crate::{shapes::ask, world::customer};

/// The tokens of each answer: few enough for the least usual limit of the shapes.
const TOKENS: usize = 12;

/// What a client gets and pays, without what no two calls have in common.
#[derive(Debug, PartialEq)]
struct Seen {
    /// The names of the events, and their data without the label; `[DONE]` as text.
    events: Vec<(String, Value)>,
    labels: usize,
    bill: Vec<Value>,
}

/// Calls with the events of the engine written in this way.
async fn call(journey: &Journey, path: &str, body: &Value, pieces: &Value) -> Seen {
    let mut body = body.clone();
    body["stream"] = json!(true);
    body["wanwu_script"] = json!({"tokens": TOKENS, "pieces": pieces});
    let answer = ask(journey, path, &body).await;
    assert_eq!(answer.status(), 200, "{path}");
    let call = answer.headers()["wanwu-call-id"]
        .to_str()
        .unwrap()
        .to_owned();
    let text = answer.text().await.unwrap();
    let mut events: Vec<_> = text.split_terminator("\n\n").map(event).collect();
    let mut labels = 0;
    for (_, data) in &mut events {
        let members = data.as_object_mut();
        labels += usize::from(members.is_some_and(|all| all.remove("aigc").is_some()));
    }
    let bill = journey.bill(&call).await.unwrap();
    assert_eq!(
        (&bill["usageSource"], &bill["outputTokens"]),
        (&json!("engine"), &json!(TOKENS.to_string())),
        "{bill}"
    );
    let fields = ["inputTokens", "amount", "lines"];
    Seen {
        events,
        labels,
        bill: fields.iter().map(|field| bill[field].clone()).collect(),
    }
}

/// An event as a client reads it: its name, and the lines of its data.
fn event(text: &str) -> (String, Value) {
    let (mut name, mut data) = ("", Vec::new());
    for line in text.lines() {
        match line.split_once(": ") {
            Some(("event", it)) => name = it,
            Some(("data", it)) => data.push(it),
            _ => panic!("{text}"),
        }
    }
    let data = data.join("\n");
    let json = serde_json::from_str(&data).unwrap_or_else(|_| json!(data));
    (name.to_owned(), json)
}

#[tokio::test]
async fn streams_are_the_same_in_whatever_pieces_the_engine_sends_their_events() {
    let journey = customer().await;
    let usage = json!({"include_usage": true});
    let chat = json!({"model": "scripted", "stream_options": usage,
        "messages": [{"role": "user", "content": "你好"}]});
    let completion = json!({"model": "scripted", "stream_options": usage, "prompt": "从前"});
    let response = json!({"model": "scripted", "input": "你好吗"});
    let ways = [
        json!({"most_bytes": 1}),
        json!({"most_bytes": 7, "crlf": true, "lines": true, "comments": true}),
        json!({"together": 2}),
        json!({"together": 3, "most_bytes": 300, "comments": true}),
    ];
    for (path, body) in [
        ("chat/completions", chat),
        ("completions", completion),
        ("responses", response),
    ] {
        let whole = call(&journey, path, &body, &Value::Null).await;
        assert_eq!(whole.labels, 2, "{whole:?}");
        assert!(whole.events.len() > TOKENS, "{whole:?}");
        for way in &ways {
            let seen = call(&journey, path, &body, way).await;
            assert_eq!(seen, whole, "{path}: {way}");
        }
    }
}
