//! A call as it comes: its script, and its prompt.

use std::time::Instant;

use serde::Deserialize;
use serde_json::Value;
use wanwu_testkit::Pieces;

use super::batch::{Batched, Running};

/// What the engine does for one call.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Script {
    /// Tokens of the answer; each is one chunk.
    pub tokens: u32,
    /// Before each token.
    pub delay_ms: u64,
    /// Before the first token.
    pub first_delay_ms: u64,
    /// The call runs with others as on a real engine; what comes before its tokens comes beside that.
    pub batched: Option<Batched>,
    /// The connection breaks after so many tokens.
    pub cut_after: Option<u32>,
    /// A frame that is no JSON comes after so many tokens.
    pub garbage_after: Option<u32>,
    /// Nothing comes any more after so many tokens.
    pub hang_after: Option<u32>,
    /// Another HTTP status than 200.
    pub status: Option<u16>,
    /// No usage at all.
    pub no_usage: bool,
    /// Tokens of the prompt that it says were in its cache; absent: it does not say.
    pub cached: Option<u64>,
    /// Tokens of the answer that it says were reasoning; absent: it does not say.
    pub reasoning: Option<u64>,
    /// The answer in parts, in place of the usual text; each part is one token. In parts, so that a
    /// screen of the request does not see what the answer will be.
    pub text: Option<Vec<String>>,
    /// Each chunk says in `wanwu_micros` how many microseconds after the call came it was made.
    pub stamped: bool,
    /// How the events of a stream are written; absent: each as it is, in a chunk of its own.
    pub pieces: Option<Pieces>,
}

impl Default for Script {
    fn default() -> Self {
        Self {
            tokens: 16,
            delay_ms: 0,
            first_delay_ms: 0,
            batched: None,
            cut_after: None,
            garbage_after: None,
            hang_after: None,
            status: None,
            no_usage: false,
            cached: None,
            reasoning: None,
            text: None,
            stamped: false,
            pieces: None,
        }
    }
}

/// What a client sends, whatever its shape.
#[derive(Deserialize)]
pub(super) struct Call {
    #[serde(default)]
    pub(super) stream: bool,
    #[serde(default)]
    pub(super) stream_options: StreamOptions,
    #[serde(default)]
    pub(super) max_tokens: Option<u32>,
    #[serde(default)]
    pub(super) max_output_tokens: Option<u32>,
    #[serde(default)]
    pub(super) messages: Value,
    #[serde(default)]
    pub(super) prompt: Value,
    #[serde(default)]
    pub(super) input: Value,
    #[serde(default)]
    pub(super) encoding_format: Option<String>,
    #[serde(default)]
    pub(super) wanwu_script: Script,
    #[serde(default)]
    safety_identifier: Option<String>,
    /// When it came.
    #[serde(skip, default = "Instant::now")]
    pub(super) came: Instant,
    /// Its place among those that run, once it has one.
    #[serde(skip)]
    pub(super) running: Option<Running>,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(default)]
pub(super) struct StreamOptions {
    pub(super) include_usage: bool,
    pub(super) continuous_usage_stats: bool,
}

impl Call {
    /// Reads a call. Its script may also come as JSON in `safety_identifier`: gateways that put a request
    /// together anew drop the fields that they do not know.
    pub(super) fn read(body: &[u8]) -> serde_json::Result<Self> {
        let mut call: Self = serde_json::from_slice(body)?;
        if let Some(script) = call
            .safety_identifier
            .take()
            .filter(|it| it.starts_with('{'))
        {
            call.wanwu_script = serde_json::from_str(&script)?;
        }
        Ok(call)
    }

    /// What it is asked, whatever the shape calls it.
    pub(super) fn asked(&self) -> &Value {
        let fields = [&self.messages, &self.prompt, &self.input];
        let mut given = fields.into_iter().filter(|value| !value.is_null());
        given.next().unwrap_or(&Value::Null)
    }
}

/// Tokens of a prompt: characters of its texts, which anybody can count, and what is written as
/// tokens.
pub(super) fn prompt_tokens(messages: &Value) -> u64 {
    match messages {
        Value::Number(_) => 1,
        Value::String(text) => text.chars().count() as u64,
        Value::Array(parts) => parts.iter().map(prompt_tokens).sum(),
        Value::Object(fields) => ["content", "text"]
            .iter()
            .filter_map(|name| fields.get(*name))
            .map(prompt_tokens)
            .sum(),
        _ => 0,
    }
}

/// The texts of a prompt, one after the other.
pub(super) fn prompt_text(messages: &Value, text: &mut String) {
    match messages {
        Value::String(piece) => text.push_str(piece),
        Value::Array(parts) => parts.iter().for_each(|part| prompt_text(part, text)),
        Value::Object(fields) => ["content", "text"]
            .iter()
            .filter_map(|name| fields.get(*name))
            .for_each(|part| prompt_text(part, text)),
        _ => {}
    }
}
