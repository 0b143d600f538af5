//! The responses API: typed events of a stream, and the object that a whole answer is and that some
//! events have in them.

use std::ops::Range;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, value::RawValue};

use super::{NotAChunk, Piece, Text, object};
use crate::domain::{engine_usage, finish::FinishReason, usage::Tokens};

/// What is looked at in an event or an answer.
#[derive(Debug)]
pub(super) struct Event<'a> {
    kind: Option<Text<'a>>,
    delta: Option<Text<'a>>,
    output_index: u32,
    content_index: u32,
    sequence_number: Option<u64>,
    /// The object in the event, or the answer itself.
    object: Option<&'a RawValue>,
    /// The answer's.
    id: Option<&'a RawValue>,
    finish_reason: Option<FinishReason>,
    raw: &'a Bytes,
}

/// What [`read`] found beside the event.
pub(super) struct Read<'a> {
    pub(super) event: Event<'a>,
    pub(super) usage: Option<(Tokens, Range<usize>)>,
    pub(super) model_at: Option<Range<usize>>,
    pub(super) is_error: bool,
}

#[derive(Deserialize)]
struct Document<'a> {
    #[serde(borrow, default, rename = "type")]
    kind: Option<Text<'a>>,
    #[serde(borrow, default)]
    response: Option<&'a RawValue>,
    #[serde(borrow, default)]
    delta: Option<&'a RawValue>,
    #[serde(default)]
    output_index: u32,
    #[serde(default)]
    content_index: u32,
    #[serde(default)]
    sequence_number: Option<u64>,
}

#[derive(Default, Deserialize)]
struct Object<'a> {
    #[serde(borrow, default)]
    id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    usage: Option<&'a RawValue>,
    #[serde(borrow, default)]
    model: Option<&'a RawValue>,
    #[serde(borrow, default)]
    error: Option<&'a RawValue>,
    #[serde(borrow, default)]
    status: Option<Text<'a>>,
    #[serde(borrow, default)]
    incomplete_details: Option<&'a RawValue>,
}

/// Why an answer is incomplete.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Details {
    reason: String,
}

/// Members of an answer whose strings are its content.
const CONTENT: [&str; 8] = [
    "text",
    "delta",
    "arguments",
    "refusal",
    "content",
    "summary",
    "input",
    "output",
];
/// Where content lies in an event or an answer.
const CARRIERS: [&str; 6] = ["text", "arguments", "refusal", "input", "part", "item"];

pub(super) fn read(raw: &Bytes) -> Result<Read<'_>, NotAChunk> {
    let document: Document<'_> = object(raw)?;
    let whole = || std::str::from_utf8(raw).unwrap_or_default();
    // An answer in one piece has no type.
    let answer: Object<'_> = match (&document.kind, document.response) {
        (_, Some(response)) => object(response.get().as_bytes())?,
        (None, None) => object(whole().as_bytes())?,
        (Some(_), None) => Object::default(),
    };
    let place = |value: &RawValue| {
        let start = value.get().as_ptr() as usize - raw.as_ptr() as usize;
        start..start + value.get().len()
    };
    let kind = document.kind.as_ref().map(|kind| kind.0.as_ref());
    let status = answer.status.as_ref().map(|status| status.0.as_ref());
    let is_error = matches!(status, Some("failed" | "cancelled"))
        || matches!(
            kind,
            Some("error" | "response.failed" | "response.cancelled")
        )
        || answer.error.is_some_and(|error| error.get() != "null");
    let finish_reason = match (kind, status) {
        (Some("response.completed"), _) | (None, Some("completed")) => Some(FinishReason::Stop),
        (Some("response.incomplete"), _) | (None, Some("incomplete")) => {
            Some(why_incomplete(answer.incomplete_details))
        }
        _ => None,
    };
    let is_delta = kind.is_some_and(|kind| kind.ends_with(".delta"));
    let delta = document.delta.filter(|_| is_delta);
    Ok(Read {
        usage: answer
            .usage
            .map(|value| (engine_usage::read(value), place(value))),
        model_at: answer.model.map(place),
        is_error,
        event: Event {
            delta: delta.and_then(|delta| serde_json::from_str(delta.get()).ok()),
            output_index: document.output_index,
            content_index: document.content_index,
            sequence_number: document.sequence_number,
            object: document.response,
            id: answer.id,
            finish_reason,
            kind: document.kind,
            raw,
        },
    })
}

fn why_incomplete(details: Option<&RawValue>) -> FinishReason {
    let details = details.and_then(|json| serde_json::from_str(json.get()).ok());
    let Details { reason } = details.unwrap_or_default();
    match reason.as_str() {
        "max_output_tokens" => FinishReason::Length,
        word => FinishReason::read(word),
    }
}

impl<'a> Event<'a> {
    /// Its type; none: it is a whole answer.
    pub(super) fn kind(&self) -> Option<&str> {
        self.kind.as_ref().map(|kind| kind.0.as_ref())
    }

    /// The stream ends with it.
    pub(super) fn is_last(&self) -> bool {
        matches!(
            self.kind(),
            None | Some("response.completed" | "response.incomplete")
        )
    }

    /// A text ends with it.
    pub(super) fn ends_text(&self) -> bool {
        self.is_last() || self.kind().is_some_and(|kind| kind.ends_with(".done"))
    }

    /// The texts of this place end with it.
    pub(super) fn finishes(&self, place: u32) -> bool {
        self.is_last() || (self.ends_text() && place >> 8 == self.output_index)
    }

    /// Its number in the stream.
    pub(super) fn number(&self) -> Option<u64> {
        self.sequence_number
    }

    /// The id of the answer, where the answer is in it, as JSON.
    pub(super) fn id(&self) -> Option<&'a RawValue> {
        self.id
    }

    /// Why the answer ended, where it did.
    pub(super) fn finish_reason(&self) -> Option<FinishReason> {
        self.finish_reason
    }

    /// The answer as far as it is, as JSON text.
    pub(super) fn object(&self) -> Option<&str> {
        self.object.map(RawValue::get)
    }

    /// The piece of text that it adds.
    pub(super) fn piece(&self) -> Option<Piece<'_>> {
        let text = self.delta.as_ref().filter(|text| !text.0.is_empty())?;
        let kind = match self.kind()? {
            "response.output_text.delta" => 0,
            "response.reasoning_text.delta" => 1,
            "response.reasoning_summary_text.delta" => 2,
            "response.refusal.delta" => 3,
            "response.function_call_arguments.delta" => 4,
            _ => 5,
        };
        Some(Piece {
            place: (self.output_index << 8 | self.content_index & 0xff, kind),
            text: &text.0,
        })
    }

    /// Every text that it repeats, or has first: what is no piece.
    pub(super) fn texts(&self) -> Vec<String> {
        let mut texts = Vec::new();
        if self.is_last() || self.ends_text() || self.kind().is_some_and(|k| k.ends_with(".added"))
        {
            let json: Value = serde_json::from_slice(self.raw).unwrap_or_default();
            let answer = if self.kind().is_some() {
                &json["response"]
            } else {
                &json
            };
            gather(&answer["output"], &mut texts);
            let carriers = CARRIERS.iter().map(|name| &json[*name]);
            carriers
                .filter(|_| self.kind().is_some())
                .for_each(|value| gather(value, &mut texts));
        }
        texts
    }
}

fn gather(value: &Value, texts: &mut Vec<String>) {
    match value {
        Value::String(text) => texts.push(text.clone()),
        Value::Array(values) => values.iter().for_each(|value| gather_members(value, texts)),
        other => gather_members(other, texts),
    }
}

fn gather_members(value: &Value, texts: &mut Vec<String>) {
    match value {
        Value::Object(members) => members
            .iter()
            .filter(|(name, _)| CONTENT.contains(&name.as_str()))
            .for_each(|(_, value)| gather(value, texts)),
        Value::Array(values) => values.iter().for_each(|value| gather_members(value, texts)),
        Value::String(text) => texts.push(text.clone()),
        _ => {}
    }
}
