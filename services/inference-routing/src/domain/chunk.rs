//! One JSON document from an engine: a chunk of a stream or a whole answer. It is parsed once,
//! borrowed, and sent on as it is but for what must be taken out or put in.

mod edits;
mod event;

use std::{borrow::Cow, ops::Range};

use bytes::Bytes;
use serde::{Deserialize, Deserializer, de::Error};
use serde_json::value::RawValue;

use super::{engine_usage, finish::FinishReason, shape::Shape, usage::Tokens};
pub use edits::{Edits, labelled};
use event::Event;

/// The longest id of an answer that is taken for one, in bytes.
const MAX_ID_BYTES: usize = 128;

/// What is looked at in a chunk or an answer.
#[derive(Debug)]
pub struct Chunk<'a> {
    raw: &'a Bytes,
    choices: Vec<Choice<'a>>,
    /// Of the responses API, which has no choices.
    event: Option<Event<'a>>,
    usage: Option<(Tokens, Range<usize>)>,
    model_at: Option<Range<usize>>,
    /// Its id, its time of creation and its model.
    head: [Option<&'a RawValue>; 3],
    /// The engine reports an error inside its stream.
    pub is_error: bool,
}

/// Not the chunk or the answer that it should be.
#[derive(Debug, thiserror::Error)]
#[error("the engine sent something that is not an answer")]
pub struct NotAChunk(#[source] serde_json::Error);

/// One piece of text of an answer.
#[derive(Debug, PartialEq, Eq)]
pub struct Piece<'a> {
    /// The answer's index and the kind of text: pieces of one place follow each other.
    pub place: (u32, u8),
    /// The text.
    pub text: &'a str,
}

#[derive(Debug, Deserialize)]
struct Document<'a> {
    #[serde(borrow, default)]
    choices: Option<Vec<Choice<'a>>>,
    #[serde(borrow, default, deserialize_with = "even_null")]
    usage: Option<&'a RawValue>,
    #[serde(borrow, default)]
    model: Option<&'a RawValue>,
    #[serde(borrow, default)]
    error: Option<&'a RawValue>,
    #[serde(borrow, default)]
    id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    created: Option<&'a RawValue>,
}

impl Document<'_> {
    fn is_error(&self) -> bool {
        self.error.is_some_and(|error| error.get() != "null")
    }
}

/// Whether a document from an engine is an error. What else is in it is read by whoever sends it on.
pub fn is_error(shape: Shape, raw: &Bytes) -> Result<bool, NotAChunk> {
    if shape.has_typed_events() {
        return event::read(raw).map(|read| read.is_error);
    }
    let document: Document<'_> = object(raw)?;
    Ok(document.is_error())
}

/// Reads an object. Of a list serde would take the first for one member and the second for another, and
/// what is to be edited would not stand where members do.
fn object<'a, T: Deserialize<'a>>(json: &'a [u8]) -> Result<T, NotAChunk> {
    if json.trim_ascii_start().first() != Some(&b'{') {
        return Err(NotAChunk(Error::custom("it is no object")));
    }
    serde_json::from_slice(json).map_err(NotAChunk)
}

/// `null` too is a member that may have to be taken out.
fn even_null<'de, D: Deserializer<'de>>(json: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(json).map(Some)
}

#[derive(Debug, Deserialize)]
struct Choice<'a> {
    #[serde(default)]
    index: u32,
    /// `delta` in a stream, `message` in an answer.
    #[serde(borrow, default, alias = "message")]
    delta: Option<Delta<'a>>,
    /// Of a completion, in a stream and in an answer.
    #[serde(borrow, default)]
    text: Option<Text<'a>>,
    #[serde(borrow, default)]
    finish_reason: Option<Text<'a>>,
}

#[derive(Debug, Default, Deserialize)]
struct Delta<'a> {
    #[serde(borrow, default)]
    content: Option<Text<'a>>,
    #[serde(borrow, default)]
    reasoning_content: Option<Text<'a>>,
    #[serde(borrow, default)]
    reasoning: Option<Text<'a>>,
    #[serde(borrow, default)]
    refusal: Option<Text<'a>>,
    #[serde(borrow, default)]
    tool_calls: Option<Vec<ToolCall<'a>>>,
}

#[derive(Debug, Deserialize)]
struct ToolCall<'a> {
    #[serde(borrow, default)]
    function: Option<Function<'a>>,
}

#[derive(Debug, Deserialize)]
struct Function<'a> {
    #[serde(borrow, default)]
    arguments: Option<Text<'a>>,
}

#[derive(Debug, Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'a> Chunk<'a> {
    /// Reads a chunk.
    pub fn parse(shape: Shape, raw: &'a Bytes) -> Result<Self, NotAChunk> {
        if shape.has_typed_events() {
            let read = event::read(raw)?;
            return Ok(Self {
                raw,
                choices: Vec::new(),
                event: Some(read.event),
                usage: read.usage,
                model_at: read.model_at,
                head: [None; 3],
                is_error: read.is_error,
            });
        }
        let document: Document<'a> = object(raw)?;
        let place = |value: &RawValue| {
            let start = value.get().as_ptr() as usize - raw.as_ptr() as usize;
            start..start + value.get().len()
        };
        Ok(Self {
            raw,
            usage: document
                .usage
                .map(|value| (engine_usage::read(value), place(value))),
            is_error: document.is_error(),
            model_at: document.model.map(place),
            head: [document.id, document.created, document.model],
            choices: document.choices.unwrap_or_default(),
            event: None,
        })
    }

    /// What the engine says was used up to here; none where it says nothing.
    #[must_use]
    pub fn usage(&self) -> Option<Tokens> {
        self.usage
            .as_ref()
            .map(|(tokens, _)| *tokens)
            .filter(|t| *t != Tokens::default())
    }

    /// There is no piece of any answer in it.
    #[must_use]
    pub const fn is_usage_only(&self) -> bool {
        self.choices.is_empty() && self.event.is_none()
    }

    /// How many answers end with this chunk.
    #[must_use]
    pub fn finished(&self) -> u64 {
        let choices = self.choices.iter();
        let finished = choices.filter(|choice| choice.finish_reason.is_some());
        finished.count() as u64 + u64::from(self.is_last())
    }

    /// The answers that end with this chunk, by their index, and why.
    pub fn endings(&self) -> impl Iterator<Item = (u32, FinishReason)> {
        let choices = self.choices.iter().filter_map(|choice| {
            let word = &choice.finish_reason.as_ref()?.0;
            Some((choice.index, FinishReason::read(word)))
        });
        let event = self.event.as_ref().and_then(Event::finish_reason);
        choices.chain(event.map(|reason| (0, reason)))
    }

    /// The engine's id of the answer, where it says one.
    #[must_use]
    pub fn id(&self) -> Option<String> {
        let [head, ..] = self.head;
        let id = head.or_else(|| self.event.as_ref()?.id())?;
        let id: String = serde_json::from_str(id.get()).ok()?;
        (id.len() <= MAX_ID_BYTES).then_some(id)
    }

    /// The stream ends with this event, whatever the engine sends after it.
    #[must_use]
    pub fn is_last(&self) -> bool {
        self.event.as_ref().is_some_and(Event::is_last)
    }

    /// A text ends with this chunk.
    #[must_use]
    pub fn ends_text(&self) -> bool {
        self.finished() > 0 || self.event.as_ref().is_some_and(Event::ends_text)
    }

    /// How many answers go on with this chunk: what an engine that says nothing about usage is
    /// taken to have spent on it, a token each.
    #[must_use]
    pub fn units(&self) -> u64 {
        let choices = self.choices.iter();
        let carrying = choices.filter(|choice| choice.carries_output()).count() as u64;
        let piece = self.event.as_ref().and_then(Event::piece);
        carrying + u64::from(piece.is_some())
    }

    /// The texts of the answer with this index end with this chunk.
    #[must_use]
    pub fn finishes(&self, index: u32) -> bool {
        let event = self.event.as_ref();
        event.is_some_and(|event| event.finishes(index))
            || self
                .choices
                .iter()
                .any(|c| c.index == index && c.finish_reason.is_some())
    }

    /// The name of the event; none where events have no names.
    #[must_use]
    pub fn event_name(&self) -> Option<&str> {
        self.event.as_ref()?.kind()
    }

    /// The number of the event, where they have numbers.
    #[must_use]
    pub fn event_number(&self) -> Option<u64> {
        self.event.as_ref()?.number()
    }

    /// The answer as far as it is, where an event has it in it, as JSON text.
    #[must_use]
    pub fn object(&self) -> Option<&str> {
        self.event.as_ref()?.object()
    }

    /// The members that name the answer, each with a comma behind it, for chunks of our own;
    /// with `model`, JSON text, in place of the engine's.
    #[must_use]
    pub fn head(&self, model: Option<&str>) -> String {
        let [id, created, engine_model] = self.head.map(|value| value.map(RawValue::get));
        let members = [
            ("id", id),
            ("created", created),
            ("model", model.or(engine_model)),
        ];
        let members = members
            .iter()
            .filter_map(|(name, value)| Some(format!("\"{name}\":{},", (*value)?)));
        members.collect()
    }

    /// Every piece of text, in order.
    pub fn pieces(&self) -> impl Iterator<Item = Piece<'_>> {
        let piece = self.event.as_ref().and_then(Event::piece);
        self.choices.iter().flat_map(Choice::pieces).chain(piece)
    }

    /// Texts that stand in it whole: those of an answer of the responses API, and what its events
    /// repeat of the pieces before them.
    #[must_use]
    pub fn texts(&self) -> Vec<String> {
        self.event.as_ref().map(Event::texts).unwrap_or_default()
    }
}

impl Choice<'_> {
    fn carries_output(&self) -> bool {
        let calls_a_tool = self
            .delta
            .as_ref()
            .and_then(|d| d.tool_calls.as_ref())
            .is_some_and(|c| !c.is_empty());
        calls_a_tool || self.pieces().next().is_some()
    }

    fn pieces(&self) -> impl Iterator<Item = Piece<'_>> {
        let text = self.text.as_ref().filter(|text| !text.0.is_empty());
        let text = text.map(|text| Piece {
            place: (self.index, 5),
            text: &text.0,
        });
        let delta = self.delta.iter().flat_map(|delta| {
            let texts = [
                &delta.content,
                &delta.reasoning_content,
                &delta.reasoning,
                &delta.refusal,
            ];
            let texts = texts
                .into_iter()
                .zip(0..)
                .filter_map(|(text, kind)| Some((text.as_ref()?, kind)));
            let tools = delta
                .tool_calls
                .iter()
                .flatten()
                .filter_map(|call| Some((call.function.as_ref()?.arguments.as_ref()?, 4)));
            texts
                .chain(tools)
                .filter(|(text, _)| !text.0.is_empty())
                .map(|(text, kind)| Piece {
                    place: (self.index, kind),
                    text: &text.0,
                })
        });
        delta.chain(text)
    }
}

#[cfg(test)]
mod tests;
