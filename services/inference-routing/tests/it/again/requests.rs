//! Requests of every shape, streamed and whole, and what an engine that is well says to them.

use inference_routing::domain::shape::Shape;
use serde_json::{Value, json};

use crate::world::{
    Got, World,
    rows::{self, CallRow},
};

/// A request, and what an engine that is well says to it.
#[derive(Debug)]
pub struct Asked {
    pub shape: Shape,
    pub stream: bool,
    /// An answer, or the events of a stream.
    says: Vec<String>,
    /// Which of the events has the first text.
    pub text_at: usize,
}

/// Requests of every shape.
pub fn requests() -> Vec<Asked> {
    let usage = json!({"prompt_tokens": 5, "completion_tokens": 1, "total_tokens": 6});
    let one = |choice: Value, usage: Value| chunk(json!([choice]), usage);
    let last = chunk(json!([]), usage.clone());
    let message = json!({"index": 0, "message": {"role": "assistant", "content": "好"},
        "finish_reason": "stop"});
    let delta = |delta: Value, finish: Value| {
        let choice = json!({"index": 0, "delta": delta, "finish_reason": finish});
        one(choice, Value::Null)
    };
    let text =
        |text: &str, finish: Value| json!({"index": 0, "text": text, "finish_reason": finish});
    let vector = json!({"object": "embedding", "index": 0, "embedding": [0.5]});
    let vectors = json!({"object": "list", "model": "engine-test", "data": [vector],
        "usage": {"prompt_tokens": 5, "total_tokens": 5}});
    vec![
        whole(Shape::Chat, &one(message, usage.clone())),
        whole(Shape::Completions, &one(text("好", json!("stop")), usage)),
        whole(Shape::Responses, &response("completed")),
        whole(Shape::Embeddings, &vectors),
        streamed(
            Shape::Chat,
            &[
                delta(json!({"role": "assistant", "content": ""}), Value::Null),
                delta(json!({"content": "好"}), Value::Null),
                delta(json!({}), json!("stop")),
                last.clone(),
            ],
            1,
        ),
        streamed(
            Shape::Completions,
            &[
                one(text("", Value::Null), Value::Null),
                one(text("好", Value::Null), Value::Null),
                one(text("", json!("stop")), Value::Null),
                last,
            ],
            1,
        ),
        streamed(Shape::Responses, &events(), 5),
    ]
}

/// An answer of chat or of completions, or a chunk of one.
fn chunk(choices: Value, usage: Value) -> Value {
    json!({"id": "c", "model": "engine-test", "choices": choices, "usage": usage})
}

/// The answer of the responses API; one that is not completed has no text yet.
fn response(status: &str) -> Value {
    let mut response = json!({"id": "r", "object": "response", "status": status,
        "model": "engine-test", "output": []});
    if status == "completed" {
        let text = json!({"type": "output_text", "text": "好", "annotations": []});
        response["output"] = json!([{"type": "message", "content": [text]}]);
        response["usage"] = json!({"input_tokens": 5, "output_tokens": 1, "total_tokens": 6});
    }
    response
}

/// The events of a response, as many before the first text as there are where a model thinks first.
fn events() -> [Value; 7] {
    let of = |kind: &str, at: u32| json!({"type": kind, "output_index": at, "content_index": 0});
    let mut thinks = of("response.output_item.added", 0);
    thinks["item"] = json!({"type": "reasoning", "summary": []});
    let mut begins = of("response.output_item.added", 1);
    begins["item"] = json!({"type": "message", "content": []});
    let mut part = of("response.content_part.added", 1);
    part["part"] = json!({"type": "output_text", "text": ""});
    let mut text = of("response.output_text.delta", 1);
    text["delta"] = json!("好");
    [
        json!({"type": "response.created", "response": response("in_progress")}),
        json!({"type": "response.in_progress", "response": response("in_progress")}),
        thinks,
        begins,
        part,
        text,
        json!({"type": "response.completed", "response": response("completed")}),
    ]
}

fn whole(shape: Shape, answer: &Value) -> Asked {
    Asked {
        shape,
        stream: false,
        says: vec![answer.to_string()],
        text_at: 0,
    }
}

fn streamed(shape: Shape, events: &[Value], text_at: usize) -> Asked {
    let mut says: Vec<String> = events.iter().map(Value::to_string).collect();
    if !shape.has_typed_events() {
        says.push("[DONE]".to_owned());
    }
    Asked {
        shape,
        stream: true,
        says,
        text_at,
    }
}

impl Asked {
    /// The model that answers its shape.
    pub const fn model(&self) -> &'static str {
        match self.shape {
            Shape::Embeddings => "vectors",
            _ => "test",
        }
    }

    /// Asks it of a name.
    pub async fn call(&self, world: &World, name: &str) -> Got {
        let script = json!({"verbatim": self.says, "text_at": self.text_at});
        let mut body = json!({"model": name, "stream": self.stream, "wanwu_script": script});
        match self.shape {
            Shape::Chat => body["messages"] = json!([{"role": "user", "content": "你好"}]),
            Shape::Completions => body["prompt"] = json!("从前"),
            Shape::Responses | Shape::Embeddings => body["input"] = json!("你好"),
        }
        let got = world.call_as(self.shape, &body).await;
        got.unwrap_or_else(|error| panic!("{self:?}: {error:?}"))
    }

    /// Asks it of a name and is answered as if nothing failed: the row of the call, and who answered.
    pub async fn answered(&self, world: &World, name: &str) -> (CallRow, String) {
        let got = self.call(world, name).await;
        assert_eq!(got.error, None, "{self:?}");
        let said = got.raw.concat();
        let text = if self.shape.is_generated() {
            "好"
        } else {
            "0.5"
        };
        assert!(said.contains(text), "{self:?}: {said}");
        if self.stream && self.shape.has_typed_events() {
            // Of the one that failed there is nothing before them.
            assert_eq!(got.events.len(), self.says.len(), "{:?}", got.events);
        }
        let row = rows::ended(&world.pool, &got.call_id).await;
        let used = (row.outcome, row.input_tokens, row.output_tokens);
        let output = i64::from(self.shape.is_generated());
        assert_eq!(used, (1, 5, output), "{self:?}");
        let first = &got.frames[0];
        let model = first["model"].as_str();
        let model = model.or(first["response"]["model"].as_str());
        (row, model.unwrap().to_owned())
    }
}
