//! The kinds of requests that engines know, and what differs between them. Everything else about a
//! call is the same for all.

use serde::Deserialize;

/// A kind of request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Shape {
    /// OpenAI's chat completions.
    Chat,
    /// OpenAI's completions.
    Completions,
    /// OpenAI's responses.
    Responses,
    /// OpenAI's embeddings.
    Embeddings,
}

/// Tokens of an answer where a completions request has no limit: OpenAI's own default.
const USUAL_COMPLETION: u64 = 16;

impl Shape {
    /// Every shape.
    pub const ALL: [Self; 4] = [
        Self::Chat,
        Self::Completions,
        Self::Responses,
        Self::Embeddings,
    ];

    /// As configuration, metrics and the catalogue name it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::Completions => "completions",
            Self::Responses => "responses",
            Self::Embeddings => "embeddings",
        }
    }

    /// Where engines answer it.
    #[must_use]
    pub const fn path(self) -> &'static str {
        match self {
            Self::Chat => "/v1/chat/completions",
            Self::Completions => "/v1/completions",
            Self::Responses => "/v1/responses",
            Self::Embeddings => "/v1/embeddings",
        }
    }

    /// What a model must be for, and a device be licensed for.
    #[must_use]
    pub const fn capability(self) -> &'static str {
        match self {
            Self::Chat | Self::Completions | Self::Responses => "chat",
            Self::Embeddings => "embedding",
        }
    }

    /// `gen_ai.operation.name` of OpenTelemetry's conventions.
    #[must_use]
    pub const fn operation(self) -> &'static str {
        match self {
            Self::Chat | Self::Responses => "chat",
            Self::Completions => "text_completion",
            Self::Embeddings => "embeddings",
        }
    }

    /// The answer is content that a model made: it is labelled, and its length has a limit.
    #[must_use]
    pub const fn is_generated(self) -> bool {
        !matches!(self, Self::Embeddings)
    }

    /// Its stream has typed events, the last of which ends it, in place of `[DONE]`.
    #[must_use]
    pub const fn has_typed_events(self) -> bool {
        matches!(self, Self::Responses)
    }

    /// The field that the model reads.
    #[must_use]
    pub const fn prompt_field(self) -> &'static str {
        match self {
            Self::Chat => "messages",
            Self::Completions => "prompt",
            Self::Responses | Self::Embeddings => "input",
        }
    }

    /// The field that limits an answer.
    #[must_use]
    pub const fn limit_field(self) -> &'static str {
        match self {
            Self::Responses => "max_output_tokens",
            _ => "max_tokens",
        }
    }

    /// Tokens of an answer where the request has no limit and the model's default is `usual`.
    #[must_use]
    pub fn default_output(self, usual: u64) -> u64 {
        match self {
            Self::Chat | Self::Responses => usual,
            Self::Completions => usual.min(USUAL_COMPLETION),
            Self::Embeddings => 0,
        }
    }

    /// Events that are read before the client gets the first: engines send some without a token
    /// first, and what follows may yet be nonsense or nothing.
    #[must_use]
    pub const fn look_ahead(self) -> usize {
        match self {
            // created, in_progress, output_item.added, content_part.added, the first text, and one
            // more where it thinks first.
            Self::Responses => 6,
            _ => 3,
        }
    }
}
