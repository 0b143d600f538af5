//! The reader of engines' chunks: usage goes out, label and model go in, the rest stays byte for byte.

use std::collections::BTreeMap;

use bytes::Bytes;
use inference_routing::domain::{
    chunk::{Chunk, Edits},
    shape::Shape,
};
use serde_json::value::RawValue;

use super::{Target, about, way};

pub(super) const TARGET: Target = Target {
    name: "chunk",
    examples: &[
        br#"{"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"role":"assistant","content":"a\n"},"finish_reason":null}]}"#,
        br#"{"id":1 , "usage": {"prompt_tokens":3,"completion_tokens":4} ,"choices":[] }"#,
        br#"{"odd": 1.50,"model":"/path","usage":null,"choices":[{"delta":{"x":"\u4f60","reasoning_content":"b","tool_calls":[{"function":{"arguments":"{}"}}]},"finish_reason":"stop"}] }"#,
        br#"{"error":{"message":"x"}}"#,
        br#"{"choices":[{"index":1,"message":{"content":"whole","refusal":null}}],"usage":{"prompt_tokens":1}}"#,
    ],
    words: &[
        b"\"usage\":", b"\"model\":", b"\"choices\":", b"\"delta\":", b"\"content\":", b"\"finish_reason\":\"stop\"",
        b"\"error\":", b"\"id\":", b"\"prompt_tokens\":1", b"\"us\\u0061ge\":{}", b"null", b"{}", b"[]", b"\"\"", b",",
        b"\\\"", b"}", b"[{", b"\"tool_calls\":",
    ],
    check,
};

type Fields<'a> = BTreeMap<String, &'a RawValue>;

fn check(input: &[u8]) -> Result<u64, String> {
    let raw = Bytes::copy_from_slice(input);
    let Ok(chunk) = Chunk::parse(Shape::Chat, &raw) else {
        return Ok(way("nonsense"));
    };
    if chunk.edited(Edits::default()) != raw {
        return Err("nothing was to change, and something did".to_owned());
    }
    let sent = chunk.edited(Edits {
        without_usage: true,
        model: Some("\"ours\""),
        label: Some("{\"l\":1}"),
    });
    // A field that is there twice is the engine's nonsense; it must not be ours.
    if let Some(theirs) = fields(&raw) {
        let ours = fields(&sent).ok_or_else(|| format!("not JSON: {}", sent.escape_ascii()))?;
        for (name, value) in &theirs {
            let sent = ours.get(name).map(|value| value.get());
            let expected = match name.as_str() {
                "usage" => None,
                "model" if value.get() != "null" => Some("\"ours\""),
                "aigc" => continue,
                _ => Some(value.get()),
            };
            if sent != expected {
                return Err(format!("{name}: {sent:?} in place of {expected:?}"));
            }
        }
        if ours.get("aigc").map(|value| value.get()) != Some("{\"l\":1}") {
            return Err("it is not labelled".to_owned());
        }
    }
    let pieces = chunk
        .pieces()
        .map(|piece| piece.place.1)
        .take(4)
        .collect::<Vec<_>>();
    Ok(way((
        pieces,
        chunk.is_error,
        chunk.usage().is_some(),
        chunk.is_usage_only(),
        about(chunk.finished() as usize),
        about(chunk.units() as usize),
        chunk.head(None).len() > 30,
    )))
}

/// The fields of an object; none: it is none, or one of them is there twice.
fn fields(json: &[u8]) -> Option<Fields<'_>> {
    let value: Fields<'_> = serde_json::from_slice(json).ok()?;
    Some(value)
}
