//! Streams of engines whose events do not come one in a chunk: however their bytes are cut, clients get
//! the same frames and the same bill.

use inference_routing::domain::shape::Shape;
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::{
    shapes::{completion, events, response, verbatim},
    world::{
        World, all_shapes, chat,
        rows::{self, CallRow},
    },
};

/// Characters of one to four bytes, and what JSON writes in another way.
const TEXT: &str = "万物🍂é\"名\"\\正,\n}言";

/// The ways in which the same events may come; the first is an event a chunk.
fn ways() -> Vec<Value> {
    vec![
        json!({}),
        json!({"most_bytes": 1}),
        json!({"most_bytes": 7}),
        json!({"most_bytes": 7, "crlf": true, "lines": true, "comments": true}),
        json!({"together": 2}),
        json!({"together": 3, "most_bytes": 300, "crlf": true, "comments": true}),
        json!({"together": 1000, "lines": true}),
    ]
}

/// A stream, and what becomes of it.
struct Case {
    shape: Shape,
    body: Value,
    /// Why the answer ended, as the engine says; none: the engine broke off.
    finish: Option<&'static str>,
    /// What the client is billed by.
    source: &'static str,
}

/// What a client gets and pays, without what no two calls have in common.
#[derive(Debug, PartialEq)]
struct Seen {
    frames: Vec<Value>,
    /// Which of the frames have the call's label.
    labelled: Vec<bool>,
    events: Vec<String>,
    error: Option<Value>,
    row: CallRow,
}

impl Case {
    /// Calls with the events coming in this way.
    async fn call(&self, world: &World, way: &Value) -> Seen {
        let mut body = self.body.clone();
        body["wanwu_script"]["pieces"] = way.clone();
        let mut got = world.call_as(self.shape, &body).await.unwrap();
        let row = rows::ended(&world.pool, &got.call_id).await;
        let mut labelled = Vec::new();
        for frame in &mut got.frames {
            let label = frame.as_object_mut().unwrap().remove("aigc");
            labelled.push(label.is_some_and(|label| label["ProduceID"] == got.call_id.as_str()));
        }
        Seen {
            frames: got.frames,
            labelled,
            events: got.events,
            error: got.error,
            // Recorded when it is due, not with each event.
            row: CallRow {
                progress_output: None,
                ..row
            },
        }
    }

    async fn is_the_same_in_all_ways(&self, world: &World) {
        let ways = ways();
        let (whole, others) = ways.split_first().unwrap();
        let expected = self.call(world, whole).await;
        self.check(&expected);
        for way in others {
            let seen = self.call(world, way).await;
            assert_eq!(seen, expected, "{:?}, {way}", self.shape);
        }
    }

    /// An event a chunk is what it should be itself.
    fn check(&self, seen: &Seen) {
        let row = &seen.row;
        assert_eq!(row.usage_source.as_deref(), Some(self.source));
        let length = TEXT.chars().count();
        let (outcome, sent) = match self.finish {
            Some(_) => (1, length),
            None => (3, length / 2),
        };
        assert_eq!((row.outcome, row.output_tokens), (outcome, sent as i64));
        assert!(row.input_tokens > 0 && row.amount_nanos > 0, "{row:?}");
        assert_eq!(seen.error.is_none(), self.finish.is_some());
        let text: String = seen.frames.iter().filter_map(text).collect();
        let expected: String = TEXT.chars().take(sent).collect();
        assert_eq!(text, expected);
        let mut reasons = seen.frames.iter().filter_map(finish);
        assert_eq!((reasons.next(), reasons.next()), (self.finish, None));
    }
}

/// The text that a frame adds.
fn text(frame: &Value) -> Option<&str> {
    let places = ["/choices/0/delta/content", "/choices/0/text", "/delta"];
    let mut texts = places.iter().filter_map(|place| frame.pointer(place));
    texts.find_map(Value::as_str)
}

/// Why the answer ends with a frame.
fn finish(frame: &Value) -> Option<&str> {
    let places = ["/choices/0/finish_reason", "/response/status"];
    let mut reasons = places.iter().filter_map(|place| frame.pointer(place));
    let reason = reasons.find_map(Value::as_str);
    reason.filter(|reason| *reason != "in_progress")
}

/// With usage of the engine (`engine`), or without any (`estimate`).
fn chats(source: &'static str) -> [Case; 2] {
    let script = json!({"text": [TEXT], "no_usage": source == "estimate"});
    let mut cut = script.clone();
    cut["cut_after"] = json!(TEXT.chars().count() / 2);
    let case = |script: Value, finish, source| Case {
        shape: Shape::Chat,
        body: chat(true, script),
        finish,
        source,
    };
    [
        case(script, Some("stop"), source),
        // What is told at the end is not told.
        case(cut, None, "estimate"),
    ]
}

fn completions(source: &'static str) -> Case {
    let chunk = |text: &str, finish: Value| {
        json!({"id": "c", "object": "text_completion", "model": "engine-test",
            "choices": [{"index": 0, "text": text, "finish_reason": finish}]})
    };
    let characters = TEXT.chars().map(String::from);
    let mut chunks: Vec<Value> = characters.map(|text| chunk(&text, Value::Null)).collect();
    let tokens = chunks.len();
    chunks.push(chunk("", json!("length")));
    if source == "engine" {
        chunks.push(
            json!({"id": "c", "object": "text_completion", "model": "engine-test",
            "choices": [], "usage": {"prompt_tokens": 4, "completion_tokens": tokens}}),
        );
    }
    let mut script = verbatim(&chunks);
    script["verbatim"]
        .as_array_mut()
        .unwrap()
        .push("[DONE]".into());
    Case {
        shape: Shape::Completions,
        body: completion(true, &script),
        finish: Some("length"),
        source,
    }
}

fn responses(source: &'static str) -> Case {
    let characters: Vec<String> = TEXT.chars().map(String::from).collect();
    let texts: Vec<&str> = characters.iter().map(String::as_str).collect();
    let mut sent = events(&texts);
    if source == "estimate" {
        let last = sent.last_mut().unwrap();
        last["response"]["usage"] = Value::Null;
    }
    Case {
        shape: Shape::Responses,
        body: response(true, &verbatim(&sent)),
        finish: Some("completed"),
        source,
    }
}

#[sqlx::test]
async fn chats_are_the_same_in_whatever_pieces_their_events_come(pool: PgPool) {
    let world = World::start(pool).await;
    for source in ["engine", "estimate"] {
        for case in chats(source) {
            case.is_the_same_in_all_ways(&world).await;
        }
    }
}

#[sqlx::test]
async fn completions_are_the_same_in_whatever_pieces_their_events_come(pool: PgPool) {
    let world = World::with(pool, all_shapes).await;
    for source in ["engine", "estimate"] {
        completions(source).is_the_same_in_all_ways(&world).await;
    }
}

#[sqlx::test]
async fn responses_are_the_same_in_whatever_pieces_their_events_come(pool: PgPool) {
    let world = World::with(pool, all_shapes).await;
    for source in ["engine", "estimate"] {
        responses(source).is_the_same_in_all_ways(&world).await;
    }
}
