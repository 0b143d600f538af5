//! The reader of clients' requests: what it does not have to change reaches the engine byte for byte.

use std::collections::BTreeMap;

use bytes::Bytes;
use inference_routing::domain::{
    request_body::{BodyError, RequestBody},
    shape::Shape,
};
use serde_json::value::RawValue;

use super::{Target, about, way};

pub(super) const CHAT: Target = Target {
    name: "request",
    examples: &[
        br#"{"model":"a","messages":[{"role":"user","content":"hi"}]}"#,
        br#" { "x\u00e9" : [1.50,  {"deep":"\u4f60"}],"model":"a","messages":[{"content":"hi"}],"max_tokens":5, "n":1 }"#,
        br#"{"model":"m","messages":[{"content":[{"type":"text","text":"a"},{"type":"refusal"}]}],"stream":true,"stream_options":{"include_usage":false,"odd":[1 ]},"max_tokens":null}"#,
        br#"{"stream":true,"tools":[{"function":{}}],"messages":[{"content":null,"audio":null}],"max_completion_tokens":3,"n":2,"model":"m","stream_options":null}"#,
        br#"{"model":"m","messages":[{"content":[{"type":"image_url","image_url":{}}]}]}"#,
    ],
    words: &[
        b"\"model\":", b"\"messages\":", b"\"stream\":true,", b"\"stream_options\":", b"\"include_usage\":true",
        b"\"continuous_usage_stats\":true", b"\"max_tokens\":", b"\"max_completion_tokens\":", b"\"n\":",
        b"\"content\":", b"\"type\":\"text\"", b"\"tools\":", b"null", b"true", b"false", b"{}", b"[]", b"\"\"",
        b"\\u0000", b"\\ud800", b"1e999", b"-0", b"18446744073709551616", b",", b"\"mod\\u0065l\":\"x\",",
        b"{\"a\":1,\"a\":2}", b"\xef\xbb\xbf",
    ],
    check: |input| check(Shape::Chat, input),
};

/// The other shapes: the first byte says which.
pub(super) const OTHERS: Target = Target {
    name: "shapes",
    examples: &[
        br#"0{"model":"a","prompt":"hi"}"#,
        br#"0{"prompt":["a","\u4f60"],"model":"m","max_tokens":3,"stream":true,"n":2,"best_of":2,"echo":false}"#,
        br#"0{"stream":true,"stream_options":{"odd":1},"prompt":[[1,2],[3]],"model":"m","max_tokens":null}"#,
        br#"1{"model":"a","input":"hi"}"#,
        br#"1{"input":[{"role":"user","content":[{"type":"input_text","text":"a"}]}],"instructions":"b","store":false,"model":"m"}"#,
        br#"1{"store":null,"stream":true,"input":[{"type":"function_call_output","output":"x"}],"max_output_tokens":null,"model":"m"}"#,
        br#"2{"model":"a","input":"hi"}"#,
        br#"2{"input":["a","b"],"dimensions":8,"encoding_format":"base64","model":"m"}"#,
    ],
    words: &[
        b"\"model\":", b"\"prompt\":", b"\"input\":", b"\"instructions\":", b"\"store\":", b"\"stream\":true,",
        b"\"stream_options\":", b"\"max_tokens\":", b"\"max_output_tokens\":", b"\"n\":", b"\"best_of\":",
        b"\"content\":", b"\"type\":\"input_text\"", b"\"text\":", b"\"previous_response_id\":", b"\"background\":",
        b"null", b"true", b"false", b"{}", b"[]", b"\"\"", b",", b"\\u0000", b"1e999", b"18446744073709551616",
    ],
    check: |input| match input.split_first() {
        None => Ok(way("nothing")),
        Some((first, body)) => check(SHAPES[usize::from(*first) % SHAPES.len()], body),
    },
};

/// By `0`, `1` and `2`.
const SHAPES: [Shape; 3] = [Shape::Completions, Shape::Responses, Shape::Embeddings];
/// What the router sets or rewrites, beside the limit of an answer.
const OURS: [&str; 2] = ["model", "stream_options"];
const ENGINE: &str = "engine \"name\"";

type Fields<'a> = BTreeMap<String, &'a RawValue>;

fn check(shape: Shape, input: &[u8]) -> Result<u64, String> {
    let raw = Bytes::copy_from_slice(input);
    let is_ours = |name: &str| {
        OURS.contains(&name)
            || name == shape.limit_field()
            || (shape == Shape::Responses && name == "store")
    };
    let body = match RequestBody::parse(shape, raw.clone()) {
        Ok(body) => body,
        Err(BodyError::TooLarge) => return Ok(way("large")),
        Err(BodyError::UnboundedCost { .. }) => return Ok(way("unbounded")),
        Err(BodyError::RemoteImage { .. }) => return Ok(way("remote image")),
        Err(BodyError::StateNotKept { .. }) => return Ok(way("state")),
        Err(BodyError::Invalid { field, problem }) => {
            // Without the place in the text: it would make every refusal another one.
            let kind: String = problem
                .chars()
                .filter(|c| !c.is_ascii_digit())
                .take(24)
                .collect();
            let field: String = field.chars().take(12).collect();
            return Ok(way((shape.name(), field, kind)));
        }
    };
    let mut texts = 0_usize;
    let seen = body.each_text(&mut |_| {
        texts += 1;
        true
    });
    let theirs = fields(&raw).ok_or("it was read and is no object")?;
    if body.message_bytes() > body.bytes() || body.prompt().concat().len() > raw.len() {
        return Err("it has more in it than there is".to_owned());
    }
    for continuous in [false, true] {
        let sent = body.engine_body(ENGINE, Some(9), continuous);
        let ours = fields(&sent).ok_or_else(|| format!("not JSON: {}", sent.escape_ascii()))?;
        for (name, value) in &theirs {
            let kept = ours.get(name).is_some_and(|sent| sent.get() == value.get());
            if !kept && !is_ours(name) {
                return Err(format!("{name} is not as it was"));
            }
        }
        if let Some(name) = ours
            .keys()
            .find(|name| !theirs.contains_key(*name) && !is_ours(name))
        {
            return Err(format!("{name} was not there"));
        }
        as_wanted(shape, &body, &theirs, &ours)?;
        RequestBody::parse(shape, sent.clone())
            .map_err(|error| format!("it cannot be read again: {error}"))?;
    }
    if !body.stream()
        && shape != Shape::Responses
        && (body.max_tokens().is_some() || !shape.is_generated())
        && body.engine_body(body.model(), None, true) != raw
    {
        return Err("nothing had to change, and something did".to_owned());
    }
    Ok(way((
        shape.name(),
        body.stream(),
        body.include_usage(),
        body.continuous_usage(),
        body.max_tokens().is_some(),
        about(body.answers() as usize),
        about(texts),
        about(theirs.len()),
        seen.is_ok(),
    )))
}

/// What the router sets is as it should be.
fn as_wanted(
    shape: Shape,
    body: &RequestBody,
    theirs: &Fields<'_>,
    ours: &Fields<'_>,
) -> Result<(), String> {
    let value = |name: &str| {
        let text = ours.get(name).map_or("null", |value| value.get());
        serde_json::from_str::<serde_json::Value>(text).unwrap_or_default()
    };
    if value("model") != ENGINE {
        return Err("the engine is asked for another model".to_owned());
    }
    if shape.is_generated() && body.max_tokens().is_none() && value(shape.limit_field()) != 9 {
        return Err("the engine gets no limit".to_owned());
    }
    if shape == Shape::Responses && value("store") != false {
        return Err("the engine may store the answer".to_owned());
    }
    if shape.has_typed_events() {
        return Ok(());
    }
    let options = value("stream_options");
    if body.stream() && options["include_usage"] != true {
        return Err("the engine is not asked for usage".to_owned());
    }
    let unknown = theirs
        .get("stream_options")
        .and_then(|value| fields(value.get().as_bytes()));
    for (name, option) in unknown.unwrap_or_default() {
        let known = ["include_usage", "continuous_usage_stats"].contains(&name.as_str());
        let kept = ours
            .get("stream_options")
            .and_then(|value| fields(value.get().as_bytes()))
            .is_some_and(|ours| {
                ours.get(&name)
                    .is_some_and(|kept| kept.get() == option.get())
            });
        if body.stream() && !known && !kept {
            return Err(format!("the option {name} is not as it was"));
        }
    }
    Ok(())
}

/// The fields of an object; none: it is none, or one of them is there twice.
fn fields(json: &[u8]) -> Option<Fields<'_>> {
    serde_json::from_slice(json).ok()
}
