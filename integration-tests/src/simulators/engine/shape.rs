//! The documents of each kind of request that the engine answers with text.

use axum::body::Bytes;
use serde_json::{Value, json};

use super::Script;

/// A kind of request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    Chat,
    Completions,
    Responses,
}

const CREATED: u64 = 1_764_000_000;
const MODEL: &str = "scripted";

impl Shape {
    /// Its name among the faults.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::Completions => "completions",
            Self::Responses => "responses",
        }
    }

    /// Usage as it writes it. The reasoning comes first; a running usage tells how much there is so
    /// far.
    pub(super) fn usage(self, script: &Script, prompt: u64, completion: u64) -> Value {
        let cached = script.cached;
        let reasoning = script.reasoning.map(|all| all.min(completion));
        if self == Self::Responses {
            return json!({
                "input_tokens": prompt,
                "input_tokens_details": {"cached_tokens": cached.unwrap_or_default()},
                "output_tokens": completion,
                "output_tokens_details": {"reasoning_tokens": reasoning.unwrap_or_default()},
                "total_tokens": prompt + completion,
            });
        }
        let mut usage = json!({
            "prompt_tokens": prompt,
            "completion_tokens": completion,
            "total_tokens": prompt + completion,
        });
        if let Some(cached) = cached {
            usage["prompt_tokens_details"] = json!({"cached_tokens": cached});
        }
        if let Some(reasoning) = reasoning {
            usage["completion_tokens_details"] = json!({"reasoning_tokens": reasoning});
        }
        usage
    }

    /// An answer in one piece, without usage.
    pub(super) fn whole(self, text: &str, finish: &str) -> Value {
        match self {
            Self::Chat => json!({
                "id": "chatcmpl-scripted",
                "object": "chat.completion",
                "created": CREATED,
                "model": MODEL,
                "choices": [{
                    "index": 0,
                    "message": {"role": "assistant", "content": text},
                    "finish_reason": finish,
                }],
            }),
            Self::Completions => json!({
                "id": "cmpl-scripted",
                "object": "text_completion",
                "created": CREATED,
                "model": MODEL,
                "choices": [{"index": 0, "text": text, "logprobs": null, "finish_reason": finish}],
            }),
            Self::Responses => response(Some(text), finish),
        }
    }

    /// What a stream begins with.
    pub(super) fn beginning(self) -> Vec<Value> {
        match self {
            Self::Chat => vec![self.piece("", 0)],
            Self::Completions => Vec::new(),
            Self::Responses => vec![
                json!({"type": "response.created", "sequence_number": 0, "response": response(None, "")}),
                json!({"type": "response.output_item.added", "sequence_number": 1, "output_index": 0,
                    "item": item("", "in_progress")}),
                json!({"type": "response.content_part.added", "sequence_number": 2, "output_index": 0,
                    "content_index": 0, "item_id": "msg_scripted", "part": part("")}),
            ],
        }
    }

    /// One piece of text, the `number`-th, counted from 1.
    pub(super) fn piece(self, text: &str, number: u64) -> Value {
        match self {
            Self::Chat if number == 0 => chunk(
                &json!({"index": 0, "delta": {"role": "assistant", "content": text}, "finish_reason": null}),
            ),
            Self::Chat => {
                chunk(&json!({"index": 0, "delta": {"content": text}, "finish_reason": null}))
            }
            Self::Completions => completion(
                &json!({"index": 0, "text": text, "logprobs": null, "finish_reason": null}),
            ),
            Self::Responses => json!({
                "type": "response.output_text.delta", "sequence_number": number + 2, "output_index": 0,
                "content_index": 0, "item_id": "msg_scripted", "delta": text, "logprobs": [],
            }),
        }
    }

    /// What a stream ends with after the pieces of this text; with `usage` where it was asked for.
    pub(super) fn ending(self, text: &str, finish: &str, usage: Option<Value>) -> Vec<Value> {
        let with = |mut chunk: Value| {
            chunk["choices"] = json!([]);
            usage.clone().map(|usage| {
                chunk["usage"] = usage;
                chunk
            })
        };
        match self {
            Self::Chat => {
                let last = chunk(&json!({"index": 0, "delta": {}, "finish_reason": finish}));
                let usage = with(last.clone());
                [Some(last), usage].into_iter().flatten().collect()
            }
            Self::Completions => {
                let last = completion(
                    &json!({"index": 0, "text": "", "logprobs": null, "finish_reason": finish}),
                );
                let usage = with(last.clone());
                [Some(last), usage].into_iter().flatten().collect()
            }
            Self::Responses => {
                let mut whole = response(Some(text), finish);
                if let Some(usage) = usage {
                    whole["usage"] = usage;
                }
                let end = match finish {
                    "length" => "response.incomplete",
                    _ => "response.completed",
                };
                vec![
                    json!({"type": "response.output_text.done", "output_index": 0, "content_index": 0,
                        "item_id": "msg_scripted", "text": text, "logprobs": []}),
                    json!({"type": "response.content_part.done", "output_index": 0, "content_index": 0,
                        "item_id": "msg_scripted", "part": part(text)}),
                    json!({"type": "response.output_item.done", "output_index": 0,
                        "item": item(text, "completed")}),
                    json!({"type": end, "response": whole}),
                ]
            }
        }
    }

    /// A document as an event.
    pub(super) fn frame(self, value: &Value) -> Bytes {
        Bytes::from(match value["type"].as_str() {
            Some(name) if self == Self::Responses => format!("event: {name}\ndata: {value}\n\n"),
            _ => format!("data: {value}\n\n"),
        })
    }

    /// Its streams end with `[DONE]`.
    pub(super) fn has_done(self) -> bool {
        self != Self::Responses
    }
}

fn chunk(choice: &Value) -> Value {
    json!({
        "id": "chatcmpl-scripted",
        "object": "chat.completion.chunk",
        "created": CREATED,
        "model": MODEL,
        "choices": [choice],
    })
}

fn completion(choice: &Value) -> Value {
    json!({
        "id": "cmpl-scripted",
        "object": "text_completion",
        "created": CREATED,
        "model": MODEL,
        "choices": [choice],
    })
}

/// The object of the responses API; without a text it is in progress.
fn response(text: Option<&str>, finish: &str) -> Value {
    let cut = finish == "length";
    json!({
        "id": "resp_scripted",
        "object": "response",
        "created_at": CREATED,
        "status": match (text, cut) { (None, _) => "in_progress", (_, true) => "incomplete", _ => "completed" },
        "error": null,
        "incomplete_details": cut.then(|| json!({"reason": "max_output_tokens"})),
        "instructions": null,
        "metadata": {},
        "model": MODEL,
        "output": text.map(|text| json!([item(text, "completed")])).unwrap_or(json!([])),
        "parallel_tool_calls": true,
        "temperature": 1.0,
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
    })
}

fn item(text: &str, status: &str) -> Value {
    let content = match status {
        "completed" => json!([part(text)]),
        _ => json!([]),
    };
    json!({"type": "message", "id": "msg_scripted", "status": status, "role": "assistant", "content": content})
}

fn part(text: &str) -> Value {
    json!({"type": "output_text", "text": text, "annotations": [], "logprobs": []})
}
