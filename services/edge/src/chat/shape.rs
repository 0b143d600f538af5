//! The kinds of calls of models, and what differs between them here.

/// A kind of call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Chat completions.
    Chat,
    /// Completions.
    Completions,
    /// Responses.
    Responses,
    /// Embeddings.
    Embeddings,
}

impl Shape {
    /// Every shape.
    pub const ALL: [Self; 4] = [
        Self::Chat,
        Self::Completions,
        Self::Responses,
        Self::Embeddings,
    ];

    /// The shape that is asked for at this path.
    #[must_use]
    pub fn at(path: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|shape| shape.path() == path)
    }

    /// The shape that a method answers.
    #[must_use]
    pub fn of(method: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|shape| shape.method() == method)
    }

    /// Where clients ask for it.
    #[must_use]
    pub const fn path(self) -> &'static str {
        match self {
            Self::Chat => "/v1/chat/completions",
            Self::Completions => "/v1/completions",
            Self::Responses => "/v1/responses",
            Self::Embeddings => "/v1/embeddings",
        }
    }

    /// The method that answers it.
    #[must_use]
    pub const fn method(self) -> &'static str {
        match self {
            Self::Chat => "/wanwu.inference.v1.ChatService/CreateChatCompletion",
            Self::Completions => "/wanwu.inference.v1.CompletionService/CreateCompletion",
            Self::Responses => "/wanwu.inference.v1.ResponseService/CreateResponse",
            Self::Embeddings => "/wanwu.inference.v1.EmbeddingService/CreateEmbedding",
        }
    }

    /// As metrics and logs show it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::Completions => "completions",
            Self::Responses => "responses",
            Self::Embeddings => "embeddings",
        }
    }

    /// Its events have names, and the last of them ends the stream in place of `[DONE]`.
    #[must_use]
    pub const fn has_typed_events(self) -> bool {
        matches!(self, Self::Responses)
    }
}
