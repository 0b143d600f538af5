//! The body of a chat request: read once, changed in at most three places.
//!
//! The bytes that the engine gets are the client's own bytes with `model`, `stream_options` and
//! an absent `max_tokens` spliced in: a field that Wanwu does not know arrives byte for byte.

use std::{borrow::Cow, ops::Range};

use bytes::Bytes;
use serde::{
    Deserialize,
    de::{DeserializeSeed, IgnoredAny},
};
use serde_json::value::RawValue;

use super::json::{Fields, Texts};

/// The largest body, in bytes.
pub const MAX_BYTES: usize = 4 * 1024 * 1024;
/// The most answers to one prompt (`n`), OpenAI's own limit.
const MAX_ANSWERS: u64 = 128;
/// Kinds of content parts whose cost is bounded by their bytes.
const BOUNDED_PARTS: [&str; 3] = ["text", "refusal", "thinking"];

/// A chat request, read.
#[derive(Clone, Debug)]
pub struct RequestBody {
    raw: Bytes,
    model: String,
    model_at: Range<usize>,
    stream: bool,
    stream_options: StreamOptions,
    answers: u64,
    max_tokens: Option<u64>,
    /// Where `"max_tokens": null` stands, which means absent.
    null_max_tokens_at: Option<Range<usize>>,
    message_bytes: u64,
    messages_at: Range<usize>,
    /// Tools stand before the messages in what the model reads.
    tools_at: Range<usize>,
}

/// What the client asked about usage in a stream.
#[derive(Clone, Debug, Default)]
struct StreamOptions {
    at: Option<Range<usize>>,
    include_usage: bool,
    continuous_usage: bool,
}

/// Why a body is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// Longer than [`MAX_BYTES`].
    #[error("the body is longer than {MAX_BYTES} bytes")]
    TooLarge,
    /// Not a chat completion request.
    #[error("{field}: {problem}")]
    Invalid {
        /// The field, dotted.
        field: String,
        /// What is wrong with it.
        problem: String,
    },
    /// Its cost cannot be known beforehand.
    #[error("{field} has a cost that cannot be bounded")]
    UnboundedCost {
        /// The field, dotted.
        field: String,
    },
}

impl RequestBody {
    /// Reads a body.
    pub fn parse(raw: Bytes) -> Result<Self, BodyError> {
        if raw.len() > MAX_BYTES {
            return Err(BodyError::TooLarge);
        }
        let fields: Fields<'_> =
            serde_json::from_slice(&raw).map_err(|e| invalid("body", &e.to_string()))?;
        let mut body = Self {
            raw: Bytes::new(),
            model: String::new(),
            model_at: 0..0,
            stream: false,
            stream_options: StreamOptions::default(),
            answers: 1,
            max_tokens: None,
            null_max_tokens_at: None,
            message_bytes: 0,
            messages_at: 0..0,
            tools_at: 0..0,
        };
        let mut messages = false;
        for (name, value) in &fields.0 {
            let at = place(&raw, value.get());
            match name.as_ref() {
                "model" => {
                    body.model = read("model", value)?;
                    body.model_at = at;
                }
                "messages" => {
                    body.message_bytes = read_messages(value)?;
                    body.messages_at = at;
                    messages = true;
                }
                "tools" => body.tools_at = at,
                "stream" => body.stream = read::<Option<bool>>("stream", value)?.unwrap_or(false),
                "stream_options" => body.stream_options = StreamOptions::read(value, at)?,
                "n" => body.answers = read_answers(value)?,
                "max_tokens" | "max_completion_tokens" => body.read_max_tokens(name, value, at)?,
                // A template may repeat its input as often as it likes.
                "chat_template" if value.get() != "null" => {
                    return Err(BodyError::UnboundedCost {
                        field: name.to_string(),
                    });
                }
                _ => {}
            }
        }
        if body.model.is_empty() {
            return Err(invalid("model", "is required"));
        }
        if !messages {
            return Err(invalid("messages", "is required"));
        }
        body.raw = raw;
        Ok(body)
    }

    /// The model that the client named.
    #[must_use]
    pub fn model(&self) -> &str {
        &self.model
    }

    /// The client wants a stream.
    #[must_use]
    pub const fn stream(&self) -> bool {
        self.stream
    }

    /// The client wants the usage at the end of its stream.
    #[must_use]
    pub const fn include_usage(&self) -> bool {
        self.stream_options.include_usage
    }

    /// The client wants the usage in every chunk of its stream.
    #[must_use]
    pub const fn continuous_usage(&self) -> bool {
        self.stream_options.include_usage && self.stream_options.continuous_usage
    }

    /// How many answers the client wants (`n`), at least 1.
    #[must_use]
    pub const fn answers(&self) -> u64 {
        self.answers
    }

    /// The client's limit of output tokens for one answer, the greater of `max_tokens` and
    /// `max_completion_tokens`; none: it set no limit.
    #[must_use]
    pub const fn max_tokens(&self) -> Option<u64> {
        self.max_tokens
    }

    /// Length of the whole body in bytes: no tokenizer makes more tokens than bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.raw.len() as u64
    }

    /// Length of the content of the messages in bytes.
    #[must_use]
    pub const fn message_bytes(&self) -> u64 {
        self.message_bytes
    }

    /// What the model reads, tools and messages, in the client's own bytes: calls whose bytes begin
    /// alike have prompts that begin alike.
    #[must_use]
    pub fn prompt(&self) -> [&[u8]; 2] {
        [&self.tools_at, &self.messages_at].map(|at| &self.raw[at.clone()])
    }

    /// The texts that the model reads, as far as a template does not make them: contents and calls of
    /// tools, and the tools as they stand.
    #[must_use]
    pub fn prompt_texts(&self) -> Vec<String> {
        let [tools, messages] = self.prompt();
        let messages: Vec<serde_json::Value> = serde_json::from_slice(messages).unwrap_or_default();
        let mut texts = vec![String::from_utf8_lossy(tools).into_owned()];
        let mut take = |value: &serde_json::Value| texts.extend(value.as_str().map(str::to_owned));
        for message in &messages {
            take(&message["content"]);
            for part in message["content"].as_array().into_iter().flatten() {
                BOUNDED_PARTS.iter().for_each(|kind| take(&part[kind]));
            }
            for call in message["tool_calls"].as_array().into_iter().flatten() {
                take(&call["function"]["name"]);
                take(&call["function"]["arguments"]);
            }
        }
        texts
    }

    /// Shows every string of the body, keys excepted, until `see` answers false.
    pub fn each_text(&self, see: &mut dyn FnMut(&str) -> bool) -> Result<(), BodyError> {
        let mut texts = Texts::new(see);
        let mut json = serde_json::Deserializer::from_slice(&self.raw);
        DeserializeSeed::deserialize(&mut texts, &mut json)
            .map_err(|e| invalid("body", &e.to_string()))
    }

    /// The body for the engine. `model` is the engine's name of the model, `max_tokens` the
    /// limit to set where the client set none, `continuous` asks for usage in every chunk.
    #[must_use]
    pub fn engine_body(&self, model: &str, max_tokens: Option<u64>, continuous: bool) -> Bytes {
        let mut edits: Vec<(Range<usize>, String)> = Vec::with_capacity(3);
        let mut inserted = String::new();
        if model != self.model {
            edits.push((
                self.model_at.clone(),
                serde_json::Value::from(model).to_string(),
            ));
        }
        if self.stream {
            let options = self.stream_options.for_engine(&self.raw, continuous);
            match self.stream_options.at.clone() {
                Some(at) => edits.push((at, options)),
                None => inserted.push_str(&format!("\"stream_options\":{options},")),
            }
        }
        if let (None, Some(tokens)) = (self.max_tokens, max_tokens) {
            match self.null_max_tokens_at.clone() {
                Some(at) => edits.push((at, tokens.to_string())),
                None => inserted.push_str(&format!("\"max_tokens\":{tokens},")),
            }
        }
        if !inserted.is_empty() {
            let open = self.raw.iter().position(|b| *b == b'{').unwrap_or_default() + 1;
            edits.push((open..open, inserted));
        }
        splice(&self.raw, edits)
    }

    fn read_max_tokens(
        &mut self,
        name: &str,
        value: &RawValue,
        at: Range<usize>,
    ) -> Result<(), BodyError> {
        match read::<Option<u64>>(name, value)? {
            Some(0) => return Err(invalid(name, "must be at least 1")),
            Some(tokens) => self.max_tokens = self.max_tokens.max(Some(tokens)),
            None if name == "max_tokens" => self.null_max_tokens_at = Some(at),
            None => {}
        }
        Ok(())
    }
}

impl StreamOptions {
    fn read(value: &RawValue, at: Range<usize>) -> Result<Self, BodyError> {
        #[derive(Default, Deserialize)]
        struct Known {
            #[serde(default)]
            include_usage: Option<bool>,
            #[serde(default)]
            continuous_usage_stats: Option<bool>,
        }
        let known = read::<Option<Known>>("stream_options", value)?.unwrap_or_default();
        Ok(Self {
            at: Some(at),
            include_usage: known.include_usage.unwrap_or(false),
            continuous_usage: known.continuous_usage_stats.unwrap_or(false),
        })
    }

    /// The client's options, its unknown ones included, with usage asked for.
    fn for_engine(&self, raw: &[u8], continuous: bool) -> String {
        let mut members = String::from("{\"include_usage\":true");
        if continuous {
            members.push_str(",\"continuous_usage_stats\":true");
        }
        let client = self
            .at
            .clone()
            .and_then(|at| serde_json::from_slice(&raw[at]).ok());
        for (name, value) in client.map(|Fields(fields)| fields).unwrap_or_default() {
            let ours = name == "include_usage" || (continuous && name == "continuous_usage_stats");
            if !ours {
                let name = serde_json::Value::from(name.as_ref());
                members.push_str(&format!(",{name}:{}", value.get()));
            }
        }
        members.push('}');
        members
    }
}

/// Applies non-overlapping edits.
fn splice(raw: &Bytes, mut edits: Vec<(Range<usize>, String)>) -> Bytes {
    if edits.is_empty() {
        return raw.clone();
    }
    edits.sort_by_key(|(at, _)| at.start);
    let mut out = Vec::with_capacity(raw.len() + 128);
    let mut from = 0;
    for (at, text) in edits {
        out.extend_from_slice(&raw[from..at.start]);
        out.extend_from_slice(text.as_bytes());
        from = at.end;
    }
    out.extend_from_slice(&raw[from..]);
    out.into()
}

/// Where `part`, a slice of `whole`, stands in it.
fn place(whole: &[u8], part: &str) -> Range<usize> {
    let start = part.as_ptr() as usize - whole.as_ptr() as usize;
    start..start + part.len()
}

fn invalid(field: &str, problem: &str) -> BodyError {
    BodyError::Invalid {
        field: field.to_owned(),
        problem: problem.to_owned(),
    }
}

fn read<'a, T: Deserialize<'a>>(field: &str, value: &'a RawValue) -> Result<T, BodyError> {
    serde_json::from_str(value.get()).map_err(|e| invalid(field, &e.to_string()))
}

fn read_answers(value: &RawValue) -> Result<u64, BodyError> {
    match read::<Option<u64>>("n", value)? {
        None => Ok(1),
        Some(n) if (1..=MAX_ANSWERS).contains(&n) => Ok(n),
        Some(_) => Err(invalid("n", "must be from 1 to 128")),
    }
}

/// Checks the messages; answers the bytes of their content.
fn read_messages(value: &RawValue) -> Result<u64, BodyError> {
    #[derive(Deserialize)]
    struct Message<'a> {
        #[serde(borrow, default)]
        content: Option<&'a RawValue>,
        #[serde(default)]
        audio: Option<IgnoredAny>,
    }
    #[derive(Deserialize)]
    struct Part<'a> {
        #[serde(borrow, rename = "type")]
        kind: Cow<'a, str>,
    }
    let messages: Vec<Message<'_>> = read("messages", value)?;
    if messages.is_empty() {
        return Err(invalid("messages", "must not be empty"));
    }
    let mut bytes = 0;
    for (at, message) in messages.iter().enumerate() {
        if message.audio.is_some() {
            return Err(BodyError::UnboundedCost {
                field: format!("messages.{at}.audio"),
            });
        }
        let Some(content) = message.content else {
            continue;
        };
        bytes += content.get().len() as u64;
        match content.get().as_bytes().first() {
            Some(b'"' | b'n') => {}
            Some(b'[') => {
                let field = format!("messages.{at}.content");
                for (part_at, part) in read::<Vec<Part<'_>>>(&field, content)?.iter().enumerate() {
                    if !BOUNDED_PARTS.contains(&part.kind.as_ref()) {
                        let field = format!("{field}.{part_at}.{}", part.kind);
                        return Err(BodyError::UnboundedCost { field });
                    }
                }
            }
            _ => {
                return Err(invalid(
                    &format!("messages.{at}.content"),
                    "must be text or parts",
                ));
            }
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(body: &str) -> Result<RequestBody, BodyError> {
        RequestBody::parse(Bytes::copy_from_slice(body.as_bytes()))
    }

    fn engine_body(body: &str, model: &str, max: Option<u64>, continuous: bool) -> String {
        let bytes = parse(body).unwrap().engine_body(model, max, continuous);
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    #[test]
    fn only_what_must_change_changes() {
        let body = r#" { "x\u00e9" : [1.50,  {"deep":"\u4f60"}],"model":"a","messages":[{"content":"hi"}],"max_tokens":5, "n":1 }"#;
        assert_eq!(engine_body(body, "a", Some(9), true), body);
        assert_eq!(
            engine_body(body, "b\"", None, false),
            body.replace(r#""model":"a""#, r#""model":"b\"""#)
        );
    }

    #[test]
    fn a_stream_asks_for_usage_and_keeps_the_clients_other_options() {
        let with = |options: &str| {
            format!(r#"{{"model":"m","messages":[{{}}],"max_tokens":1,"stream":true{options}}}"#)
        };
        let cases = [
            (
                "",
                true,
                r#"{"include_usage":true,"continuous_usage_stats":true}"#,
            ),
            (
                r#","stream_options":null"#,
                false,
                r#"{"include_usage":true}"#,
            ),
            (
                r#","stream_options":{"include_usage":false,"odd": [1 ]}"#,
                false,
                r#"{"include_usage":true,"odd":[1 ]}"#,
            ),
            (
                r#","stream_options":{"continuous_usage_stats":false}"#,
                true,
                r#"{"include_usage":true,"continuous_usage_stats":true}"#,
            ),
        ];
        for (options, continuous, expected) in cases {
            let sent = engine_body(&with(options), "m", None, continuous);
            let sent: serde_json::Value = serde_json::from_str(&sent).unwrap();
            assert_eq!(
                sent["stream_options"].to_string(),
                expected.replace("[1 ]", "[1]")
            );
        }
        let silent = r#"{"model":"m","messages":[{}],"max_tokens":1}"#;
        assert_eq!(engine_body(silent, "m", None, true), silent);
    }

    #[test]
    fn an_absent_limit_is_set_and_a_given_one_is_kept() {
        let absent = r#"{"model":"m","messages":[{}]}"#;
        assert_eq!(
            engine_body(absent, "m", Some(7), false),
            r#"{"max_tokens":7,"model":"m","messages":[{}]}"#
        );
        let null = r#"{"model":"m","messages":[{}],"max_tokens":null}"#;
        assert_eq!(
            engine_body(null, "m", Some(7), false),
            r#"{"model":"m","messages":[{}],"max_tokens":7}"#
        );
        let other = r#"{"model":"m","messages":[{}],"max_tokens":3,"max_completion_tokens":8}"#;
        assert_eq!(parse(other).unwrap().max_tokens(), Some(8));
        assert_eq!(engine_body(other, "m", Some(7), false), other);
    }

    #[test]
    fn what_is_not_a_chat_request_is_refused_with_its_place() {
        let cases = [
            ("[]", "body"),
            ("{", "body"),
            (r#"{"messages":[{}]}"#, "model"),
            (r#"{"model":7,"messages":[{}]}"#, "model"),
            (r#"{"model":"m"}"#, "messages"),
            (r#"{"model":"m","messages":[]}"#, "messages"),
            (r#"{"model":"m","messages":"x"}"#, "messages"),
            (
                r#"{"model":"m","messages":[{"content":7}]}"#,
                "messages.0.content",
            ),
            (
                r#"{"model":"m","messages":[{"content":"a","content":"b"}]}"#,
                "messages",
            ),
            (r#"{"model":"m","messages":[{}],"n":0}"#, "n"),
            (r#"{"model":"m","messages":[{}],"n":129}"#, "n"),
            (r#"{"model":"m","messages":[{}],"n":1.5}"#, "n"),
            (
                r#"{"model":"m","messages":[{}],"max_tokens":0}"#,
                "max_tokens",
            ),
            (
                r#"{"model":"m","messages":[{}],"max_tokens":-1}"#,
                "max_tokens",
            ),
            (
                r#"{"model":"m","messages":[{}],"max_tokens":1,"max_\u0074okens":9}"#,
                "body",
            ),
            (r#"{"model":"m","messages":[{}],"stream":"yes"}"#, "stream"),
            (
                r#"{"model":"m","messages":[{}],"stream_options":3}"#,
                "stream_options",
            ),
        ];
        for (body, at) in cases {
            match parse(body) {
                Err(BodyError::Invalid { field, .. }) => assert_eq!(field, at, "{body}"),
                other => panic!("{body}: {other:?}"),
            }
        }
    }

    #[test]
    fn a_part_without_a_bound_is_refused() {
        let cases = [
            (
                r#"{"type":"image_url","image_url":{"url":"http://x"}}"#,
                true,
            ),
            (r#"{"type":"input_audio"}"#, true),
            (r#"{"type":"text","text":"ok"}"#, false),
        ];
        for (part, refused) in cases {
            let body = format!(r#"{{"model":"m","messages":[{{"content":[{part}]}}]}}"#);
            let unbounded = matches!(parse(&body), Err(BodyError::UnboundedCost { .. }));
            assert_eq!(unbounded, refused, "{part}");
        }
        let template = r#"{"model":"m","messages":[{}],"chat_template":"{% for %}"}"#;
        assert!(matches!(
            parse(template),
            Err(BodyError::UnboundedCost { .. })
        ));
    }

    #[test]
    fn a_body_over_the_limit_is_refused() {
        let body = Bytes::from(vec![b' '; MAX_BYTES + 1]);
        assert_eq!(RequestBody::parse(body).unwrap_err(), BodyError::TooLarge);
    }

    #[test]
    fn every_string_is_seen_without_its_escapes() {
        let body = parse(
            r#"{"model":"m","messages":[{"role":"user","content":[{"type":"text","text":"\u4f60\n"}]}],"tools":[{"d":"e"}]}"#,
        )
        .unwrap();
        let mut seen = Vec::new();
        body.each_text(&mut |text| {
            seen.push(text.to_owned());
            true
        })
        .unwrap();
        assert_eq!(seen, ["m", "user", "text", "你\n", "e"]);
    }
}
