//! The reader of engines' chunks, events and answers of every shape: usage goes out, label and model go in,
//! the rest stays byte for byte.

use std::collections::BTreeMap;

use bytes::Bytes;
use inference_routing::domain::{
    chunk::{Chunk, Edits},
    shape::Shape,
};
use serde_json::value::RawValue;

use super::{Target, about, way};

/// The first byte says which shape: `0` and on, as [`Shape::ALL`] has them.
pub(super) const TARGET: Target = Target {
    name: "chunk",
    examples: &[
        br#"0{"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"role":"assistant","content":"a\n"},"finish_reason":null}]}"#,
        br#"0{"id":1 , "usage": {"prompt_tokens":3,"completion_tokens":4} ,"choices":[] }"#,
        br#"0{"odd": 1.50,"model":"/path","usage":null,"choices":[{"delta":{"x":"\u4f60","reasoning_content":"b","tool_calls":[{"function":{"arguments":"{}"}}]},"finish_reason":"stop"}] }"#,
        br#"0{"error":{"message":"x"}}"#,
        br#"0{"choices":[{"index":1,"message":{"content":"whole","refusal":null}}],"usage":{"prompt_tokens":1}}"#,
        br#"1{"id":"c","object":"text_completion","created":1,"choices":[{"index":0,"text":"a\n","logprobs":null,"finish_reason":null}],"model":"m"}"#,
        br#"1{"choices":[{"index":1,"text":"","finish_reason":"length"}],"usage":{"prompt_tokens":3,"completion_tokens":1} }"#,
        br#"2{"type":"response.created","sequence_number":0,"response":{"id":"r","object":"response","status":"in_progress","model":"/m","output":[],"usage":null}}"#,
        br#"2{"type":"response.output_text.delta","output_index":1,"content_index":2,"delta":"a\n","sequence_number":7}"#,
        br#"2{"type":"response.output_item.done","output_index":1,"item":{"type":"function_call","arguments":"{}"}}"#,
        br#"2{"response":{"usage": {"input_tokens":3,"output_tokens":4} ,"model" : "/m","output":[{"type":"message","content":[{"type":"output_text","text":"\u4f60"}]}]},"type":"response.completed"}"#,
        br#"2{"type":"response.failed","response":{"status":"failed","error":{"code":"x"}}}"#,
        br#"2{"object":"response","status":"completed","error":null,"model":"m","output":[{"content":[{"text":"a"}]}],"usage":{"input_tokens":1,"output_tokens":2}}"#,
        br#"3{"object":"list","data":[{"index":0,"embedding":[0.5]}],"model":"/m","usage":{"prompt_tokens":3,"total_tokens":3}}"#,
    ],
    words: &[
        b"\"usage\":", b"\"model\":", b"\"choices\":", b"\"delta\":", b"\"content\":", b"\"finish_reason\":\"stop\"",
        b"\"error\":", b"\"id\":", b"\"prompt_tokens\":1", b"\"us\\u0061ge\":{}", b"null", b"{}", b"[]", b"\"\"", b",",
        b"\\\"", b"}", b"[{", b"\"tool_calls\":", b"\"text\":", b"\"response\":", b"\"response\":[\"\"],",
        b"\"type\":\"response.completed\"", b"\"type\":\"x.delta\",", b"\"type\":null,", b"\"output\":", b"\"item\":",
        b"\"status\":\"failed\"", b"\"output_index\":4294967295", b"\"aigc\":",
    ],
    check: |input| match input.split_first() {
        None => Ok(way("nothing")),
        Some((first, json)) => check(Shape::ALL[usize::from(*first) % Shape::ALL.len()], json),
    },
};

/// What goes in.
const MODEL: &str = "\"ours\"";
const LABEL: &str = "{\"l\":1}";

/// The members of an object as they are written, the last of each name.
type Members<'a> = BTreeMap<String, &'a str>;

fn check(shape: Shape, input: &[u8]) -> Result<u64, String> {
    let raw = Bytes::copy_from_slice(input);
    let Ok(chunk) = Chunk::parse(shape, &raw) else {
        return Ok(way("nonsense"));
    };
    if chunk.edited(Edits::default()) != raw {
        return Err("nothing was to change, and something did".to_owned());
    }
    let sent = chunk.edited(Edits {
        without_usage: true,
        model: Some(MODEL),
        label: Some(LABEL),
    });
    // What is no JSON as a whole is the engine's nonsense; it must not be ours.
    if let Some(theirs) = members(&raw) {
        let ours = members(&sent).ok_or_else(|| format!("not JSON: {}", sent.escape_ascii()))?;
        is_as_wanted(shape, theirs, ours)?;
    }
    let pieces = chunk
        .pieces()
        .map(|piece| piece.place.1)
        .take(4)
        .collect::<Vec<_>>();
    Ok(way((
        shape.name(),
        pieces,
        about(chunk.texts().len()),
        chunk.is_error,
        chunk.usage().is_some(),
        chunk.is_usage_only(),
        (chunk.is_last(), chunk.ends_text()),
        about(chunk.finished() as usize),
        about(chunk.units() as usize),
        chunk.head(None).len() > 30,
    )))
}

/// What goes on is what came, but for what was to change.
fn is_as_wanted<'a>(
    shape: Shape,
    mut theirs: Members<'a>,
    mut ours: Members<'a>,
) -> Result<(), String> {
    if ours.remove("aigc") != Some(LABEL) {
        return Err("it is not labelled".to_owned());
    }
    theirs.remove("aigc");
    let has = |name: &str| theirs.get(name).is_some_and(|value| *value != "null");
    let (holds_answer, has_type) = (has("response"), has("type"));
    if !shape.has_typed_events() || (!holds_answer && !has_type) {
        edit(shape, &mut theirs);
    } else if holds_answer {
        // What is edited of an event is the answer that it has in it.
        let mut expected = inner(&mut theirs).ok_or("what it has in it is no answer")?;
        edit(shape, &mut expected);
        if inner(&mut ours).as_ref() != Some(&expected) {
            return Err(format!("the answer in it is not {expected:?}"));
        }
    }
    if ours != theirs {
        return Err(format!("{ours:?} in place of {theirs:?}"));
    }
    Ok(())
}

/// What becomes of an answer or a chunk.
fn edit(shape: Shape, members: &mut Members<'_>) {
    // An event says with `null` that its usage comes later.
    let is_told = !shape.has_typed_events() || members.get("usage") != Some(&"null");
    if is_told {
        members.remove("usage");
    }
    if let Some(model) = members.get_mut("model")
        && *model != "null"
    {
        *model = MODEL;
    }
}

/// Takes out the answer that an event has in it.
fn inner<'a>(event: &mut Members<'a>) -> Option<Members<'a>> {
    members(event.remove("response")?.as_bytes())
}

/// The members of an object; none: it is none.
fn members(json: &[u8]) -> Option<Members<'_>> {
    let members: BTreeMap<String, &RawValue> = serde_json::from_slice(json).ok()?;
    let texts = members.into_iter().map(|(name, raw)| (name, raw.get()));
    Some(texts.collect())
}
