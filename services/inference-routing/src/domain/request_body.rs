//! What a request says: its body, read once.

mod engine_body;
mod images;
mod items;
mod messages;
mod prompts;
mod refused;
mod settings;
mod texts;

use std::ops::Range;

use bytes::Bytes;
use serde::{Deserialize, de::DeserializeSeed};
use serde_json::value::RawValue;

use super::{
    json::{Fields, Texts},
    shape::Shape,
};
use images::Images;
use prompts::TokenIds;
use settings::Places;
pub use settings::Settings;

/// The largest body, in bytes.
pub const MAX_BYTES: usize = 4 * 1024 * 1024;
/// The most answers to one prompt (`n`, `best_of`), OpenAI's own limit.
const MAX_ANSWERS: u64 = 128;

/// A request, read.
#[derive(Clone, Debug)]
pub struct RequestBody {
    shape: Shape,
    raw: Bytes,
    model: String,
    model_at: Range<usize>,
    stream: bool,
    stream_options: StreamOptions,
    answers: u64,
    best_of: u64,
    prompts: u64,
    /// Tokens that stand in the prompts as numbers.
    token_ids: u64,
    max_tokens: Option<u64>,
    /// Where a limit of `null` stands, which means absent.
    null_limit_at: Option<Range<usize>>,
    /// Where `"store": null` stands, and whether there is a `store` at all.
    store: (Option<Range<usize>>, bool),
    message_bytes: u64,
    images: Images,
    settings: Places,
    /// What the model reads, in the order in which it does: instructions, tools, messages.
    prompt_at: [Range<usize>; 3],
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
    /// Not the request that it should be.
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
    /// An image that the engine would have to fetch, from wherever it says.
    #[error("{field}: an image must be in the request, as a `data:` address")]
    RemoteImage {
        /// The field, dotted.
        field: String,
    },
    /// It wants content kept, or names content that was kept.
    #[error("{field}: nothing of a request is kept for a later one")]
    StateNotKept {
        /// The field, dotted.
        field: String,
    },
}

impl RequestBody {
    /// Reads a body.
    pub fn parse(shape: Shape, raw: Bytes) -> Result<Self, BodyError> {
        if raw.len() > MAX_BYTES {
            return Err(BodyError::TooLarge);
        }
        let fields: Fields<'_> =
            serde_json::from_slice(&raw).map_err(|e| invalid("body", &e.to_string()))?;
        let mut body = Self {
            shape,
            raw: Bytes::new(),
            model: String::new(),
            model_at: 0..0,
            stream: false,
            stream_options: StreamOptions::default(),
            answers: 1,
            best_of: 1,
            prompts: 0,
            token_ids: 0,
            max_tokens: None,
            null_limit_at: None,
            store: (None, false),
            message_bytes: 0,
            images: Images::default(),
            settings: Places::default(),
            prompt_at: [0..0, 0..0, 0..0],
        };
        for (name, value) in &fields.0 {
            body.read_field(&raw, name, value)?;
        }
        if body.model.is_empty() {
            return Err(invalid("model", "is required"));
        }
        if body.prompts == 0 {
            return Err(invalid(shape.prompt_field(), "is required"));
        }
        body.message_bytes = body.message_bytes.saturating_sub(body.images.bytes());
        body.raw = raw;
        Ok(body)
    }

    fn read_field(&mut self, raw: &Bytes, name: &str, value: &RawValue) -> Result<(), BodyError> {
        let at = place(raw, value.get());
        let bytes = at.len() as u64;
        match (self.shape, name) {
            (_, "model") => {
                self.model = read("model", value)?;
                self.model_at = at;
            }
            (Shape::Chat | Shape::Completions | Shape::Responses, "stream") => {
                self.stream = read::<Option<bool>>("stream", value)?.unwrap_or(false);
            }
            (Shape::Chat | Shape::Completions, "stream_options") => {
                self.stream_options = StreamOptions::read(value, at)?;
            }
            (Shape::Chat | Shape::Completions, "n") => self.answers = read_count(name, value)?,
            (Shape::Chat | Shape::Completions, "best_of") => {
                self.best_of = read_count(name, value)?;
            }
            (Shape::Chat | Shape::Completions, "max_tokens")
            | (Shape::Chat, "max_completion_tokens")
            | (Shape::Responses, "max_output_tokens") => self.read_limit(name, value, at)?,
            (Shape::Chat, "messages") => {
                self.message_bytes = messages::read_messages(raw, value, &mut self.images)?;
                self.has_prompt(1, 2, at);
            }
            (Shape::Completions, "prompt") => {
                let prompts = prompts::read_prompts(name, value, TokenIds::Refused)?;
                self.message_bytes = bytes;
                self.has_prompt(prompts.count, 2, at);
            }
            (Shape::Embeddings, "input") => {
                let prompts = prompts::read_prompts(name, value, TokenIds::Taken)?;
                self.message_bytes = bytes;
                self.token_ids = prompts.tokens;
                self.has_prompt(prompts.count, 2, at);
            }
            (Shape::Responses, "input") => {
                items::read_input(raw, value, &mut self.images)?;
                self.message_bytes += bytes;
                self.has_prompt(1, 2, at);
            }
            (Shape::Responses, "instructions") => {
                self.message_bytes += bytes;
                self.prompt_at[0] = at;
            }
            (Shape::Chat | Shape::Responses, "tools") => {
                items::read_tools(value)?;
                self.prompt_at[1] = at;
            }
            (Shape::Chat | Shape::Responses, "mm_processor_kwargs") if value.get() != "null" => {
                self.images.processor = Some(name.to_owned());
            }
            (shape, name) => {
                self.settings.see(name, &at);
                if name == "store" {
                    self.store = ((value.get() == "null").then_some(at), true);
                }
                refused::check(shape, name, value)?;
            }
        }
        Ok(())
    }

    fn has_prompt(&mut self, count: u64, part: usize, at: Range<usize>) {
        self.prompts = count;
        self.prompt_at[part] = at;
    }

    /// What kind of request it is.
    #[must_use]
    pub const fn shape(&self) -> Shape {
        self.shape
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
        self.stream_options.include_usage || self.shape.has_typed_events()
    }

    /// The client wants the usage in every chunk of its stream, or wherever the engine puts it.
    #[must_use]
    pub const fn continuous_usage(&self) -> bool {
        self.include_usage() && self.stream_options.continuous_usage
            || self.shape.has_typed_events()
    }

    /// How many answers the client gets: `n` for each prompt, at least 1.
    #[must_use]
    pub const fn answers(&self) -> u64 {
        self.answers * self.prompts
    }

    /// How many answers the client gets to each prompt (`n`), at least 1.
    #[must_use]
    pub const fn answers_each(&self) -> u64 {
        self.answers
    }

    /// How many answers are made: more than it gets where it wants the best of several.
    #[must_use]
    pub fn answers_made(&self) -> u64 {
        self.answers.max(self.best_of) * self.prompts
    }

    /// How many prompts there are, at least 1.
    #[must_use]
    pub const fn prompts(&self) -> u64 {
        self.prompts
    }

    /// The client's limit of output tokens for one answer, the greatest where it set several; none:
    /// it set no limit.
    #[must_use]
    pub const fn max_tokens(&self) -> Option<u64> {
        self.max_tokens
    }

    /// Length of the body without its images in bytes: no tokenizer makes more tokens than bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.raw.len() as u64 - self.images.bytes()
    }

    /// The most tokens that its images are, where one is `each` at most.
    pub fn image_tokens(&self, each: Option<u64>) -> Result<u64, BodyError> {
        self.images.tokens(each)
    }

    /// Length of what the model reads in bytes, images excepted.
    #[must_use]
    pub const fn message_bytes(&self) -> u64 {
        self.message_bytes
    }

    /// What the model reads, in the client's own bytes: calls whose bytes begin alike have prompts
    /// that begin alike.
    #[must_use]
    pub fn prompt(&self) -> [&[u8]; 3] {
        [0, 1, 2].map(|part| &self.raw[self.prompt_at[part].clone()])
    }

    /// Shows every string of the body, keys and images excepted, until `see` answers false.
    pub fn each_text(&self, see: &mut dyn FnMut(&str) -> bool) -> Result<(), BodyError> {
        let whole = self.raw.as_ptr_range();
        // A string without escapes is shown where it lies.
        let mut see = |text: &str| {
            let image = whole.contains(&text.as_ptr())
                && self
                    .images
                    .has(text.as_ptr() as usize - whole.start as usize);
            image || see(text)
        };
        let mut texts = Texts::new(&mut see);
        let mut json = serde_json::Deserializer::from_slice(&self.raw);
        DeserializeSeed::deserialize(&mut texts, &mut json)
            .map_err(|e| invalid("body", &e.to_string()))
    }

    fn read_limit(
        &mut self,
        name: &str,
        value: &RawValue,
        at: Range<usize>,
    ) -> Result<(), BodyError> {
        match read::<Option<u64>>(name, value)? {
            // A completion may be nothing but its echo.
            Some(0) if self.shape != Shape::Completions => {
                return Err(invalid(name, "must be at least 1"));
            }
            Some(tokens) => self.max_tokens = self.max_tokens.max(Some(tokens)),
            None if name == self.shape.limit_field() => self.null_limit_at = Some(at),
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

fn read_count(name: &str, value: &RawValue) -> Result<u64, BodyError> {
    match read::<Option<u64>>(name, value)? {
        None => Ok(1),
        Some(n) if (1..=MAX_ANSWERS).contains(&n) => Ok(n),
        Some(_) => Err(invalid(name, "must be from 1 to 128")),
    }
}

#[cfg(test)]
mod tests;
