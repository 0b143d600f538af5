//! Engines: OpenAI-compatible servers that run models.

pub mod client;
pub mod pool;
pub mod probe;
pub mod sse;

use bytes::Bytes;

/// What an engine did wrong.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// No engine of the model is well.
    #[error("no engine of the model is well")]
    NoneWell,
    /// Nothing listens there.
    #[error("the engine does not take a connection")]
    NoConnection(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// It cannot be reached, or broke off before its first token.
    #[error("the engine cannot be reached")]
    Unreachable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// It answered that it is not able to (429, 5xx).
    #[error("the engine answered {0}")]
    Unable(u16),
    /// It refuses the request (4xx).
    #[error("the engine refused the request")]
    Refused {
        /// Its HTTP status.
        status: u16,
        /// Its message, for the client.
        message: String,
    },
    /// It was silent for too long.
    #[error("the engine did not answer in time")]
    Silent,
    /// It broke off after its first token.
    #[error("the engine broke off")]
    Cut,
    /// It took longer than a call may.
    #[error("the engine took too long")]
    TooLong,
    /// It sent something that is no chat completion.
    #[error("the engine sent nonsense")]
    Nonsense(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// What comes from an engine.
#[derive(Debug)]
pub enum Answer {
    /// A stream, with its first event.
    Stream(Bytes, client::Events),
    /// A whole answer.
    Whole(Bytes),
}

impl EngineError {
    /// Another engine may do better.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        !matches!(self, Self::Refused { .. })
    }
}
