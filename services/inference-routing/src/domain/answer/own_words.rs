//! Documents of our own in place of an engine's: what says that the screen stopped an answer.

use serde_json::{Value, json};

use super::Wishes;
use crate::domain::shape::Shape;

/// What of an answer is known, for a document of our own.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// The members that name the answer, each with a comma behind it.
    pub(super) head: Option<String>,
    /// The answer as an event had it first, as JSON text.
    pub(super) object: Option<String>,
    /// The number of the event before.
    pub(super) number: Option<u64>,
}

impl Known {
    /// A chunk without any piece of an answer.
    pub(super) fn empty_chunk(&self, shape: Shape) -> String {
        self.chunk(shape, "[]")
    }

    /// The end of a stream that the screen stopped: its JSON, and the name of its event.
    pub(super) fn stopped(&self, wishes: &Wishes) -> (String, Option<&'static str>) {
        if wishes.shape.has_typed_events() {
            let mut answer: Value = self
                .object
                .as_deref()
                .and_then(|json| serde_json::from_str(json).ok())
                .unwrap_or_else(|| json!({"object": "response"}));
            withhold_response(&mut answer);
            if let Some(model) = wishes.model.as_deref() {
                answer["model"] = serde_json::from_str(model).unwrap_or_default();
            }
            let name = "response.incomplete";
            let number = self.number.map_or(0, |number| number + 1);
            let event = json!({"type": name, "sequence_number": number, "response": answer});
            return (event.to_string(), Some(name));
        }
        let choices: Vec<String> = (0..wishes.answers)
            .map(|index| {
                let empty = match wishes.shape {
                    Shape::Completions => r#""text":"","logprobs":null"#,
                    _ => r#""delta":{}"#,
                };
                format!(r#"{{"index":{index},{empty},"finish_reason":"content_filter"}}"#)
            })
            .collect();
        let choices = format!("[{}]", choices.join(","));
        (self.chunk(wishes.shape, &choices), None)
    }

    fn chunk(&self, shape: Shape, choices: &str) -> String {
        let head = self.head.as_deref().unwrap_or_default();
        let object = match shape {
            Shape::Completions => "text_completion",
            _ => "chat.completion.chunk",
        };
        format!("{{{head}\"object\":\"{object}\",\"choices\":{choices}}}")
    }
}

/// A whole answer without its content.
#[must_use]
pub fn withheld(shape: Shape, answer: &[u8]) -> Vec<u8> {
    let mut json: Value = serde_json::from_slice(answer).unwrap_or_default();
    if shape.has_typed_events() {
        withhold_response(&mut json);
        json["usage"] = json!({"input_tokens": 0, "output_tokens": 0, "total_tokens": 0});
        return json.to_string().into_bytes();
    }
    for choice in json["choices"].as_array_mut().into_iter().flatten() {
        match shape {
            Shape::Completions => {
                choice["text"] = "".into();
                choice["logprobs"] = Value::Null;
            }
            _ => {
                choice["message"] = json!({"role": "assistant", "content": ""});
                if let Some(choice) = choice.as_object_mut() {
                    // The tokens are the content once more.
                    choice.remove("logprobs");
                }
            }
        }
        choice["finish_reason"] = "content_filter".into();
    }
    json["usage"] = json!({"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0});
    json.to_string().into_bytes()
}

fn withhold_response(answer: &mut Value) {
    answer["status"] = "incomplete".into();
    answer["incomplete_details"] = json!({"reason": "content_filter"});
    answer["output"] = json!([]);
    answer["usage"] = Value::Null;
}
