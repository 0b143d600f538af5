//! Engines: OpenAI-compatible servers that run models.

pub mod at_work;
pub mod attempts;
pub mod client;
pub mod discovery;
mod gauges;
pub mod pool;
pub mod probe;
mod progress;
mod refusal;
pub mod reports;
pub mod sse;

use std::time::Duration;

use bytes::Bytes;

use crate::domain::{
    breaker::{Failure, Health},
    placement::Ending,
};

/// What an engine did wrong.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// No engine of the model is well.
    #[error("no engine of the model is well")]
    NoneWell,
    /// Nothing listens there.
    #[error("nothing listens at the engine's address")]
    NotListening(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// There is no way there.
    #[error("the engine does not take a connection")]
    NoConnection(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The connection broke before it answered.
    #[error("the engine cannot be reached")]
    Unreachable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// It has too much to do (429, or 503 with a time to come again).
    #[error("the engine is busy")]
    Busy {
        /// How long it wants to be left alone.
        retry_after: Duration,
        /// It said so long itself.
        said: bool,
    },
    /// It answered that it is not able to (5xx).
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
    /// It broke off.
    #[error("the engine broke off")]
    Cut,
    /// It took longer than a call may.
    #[error("the engine took too long")]
    TooLong,
    /// It sent something that is no chat completion.
    #[error("the engine sent nonsense")]
    Nonsense(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// When the first of the engines wants to be asked again that told one call that they are busy.
#[derive(Clone, Copy, Debug, Default)]
pub struct Soonest(Option<Duration>);

/// What comes from an engine.
#[derive(Debug)]
pub enum Answer {
    /// A stream, with its first event.
    Stream(Bytes, client::Events),
    /// A whole answer.
    Whole(Bytes),
}

impl Soonest {
    /// What the client is told in place of an engine's error: where it is that it is busy, the least time of
    /// all that were.
    pub fn told(&mut self, error: EngineError) -> EngineError {
        let EngineError::Busy { retry_after, said } = error else {
            return error;
        };
        let least = self.0.map_or(retry_after, |least| least.min(retry_after));
        self.0 = Some(least);
        let retry_after = least;
        EngineError::Busy { retry_after, said }
    }
}

impl EngineError {
    /// Another engine may do better.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        !matches!(self, Self::Refused { .. })
    }

    /// What it says of the engine.
    #[must_use]
    pub const fn ending(&self) -> Ending {
        match self {
            Self::Refused { .. } => Ending::Well,
            Self::NoneWell | Self::TooLong => Ending::Unknown,
            Self::Busy { retry_after, said } if *said => Ending::Busy(*retry_after),
            Self::Busy { .. } => Ending::Full,
            Self::NotListening(_) => Ending::Failed(Failure::Refused),
            Self::NoConnection(_) | Self::Unreachable(_) => Ending::Failed(Failure::Transport),
            Self::Unable(_) => Ending::Failed(Failure::Status),
            Self::Silent => Ending::Failed(Failure::Silent),
            Self::Cut | Self::Nonsense(_) => Ending::Failed(Failure::Broken),
        }
    }

    /// What it says of an engine that was asked how it is: the same words as for calls.
    #[must_use]
    pub const fn health(&self) -> Health {
        match self.ending() {
            Ending::Failed(Failure::Transport) => Health::Lost,
            Ending::Failed(Failure::Silent) => Health::Late,
            _ => Health::Ill,
        }
    }

    /// A word for it, for spans.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::NoneWell => "none_well",
            Self::NotListening(_) => "not_listening",
            Self::NoConnection(_) => "no_connection",
            Self::Unreachable(_) => "unreachable",
            Self::Busy { .. } => "busy",
            Self::Unable(_) => "unable",
            Self::Refused { .. } => "refused",
            Self::Silent => "silent",
            Self::Cut => "cut",
            Self::TooLong => "too_long",
            Self::Nonsense(_) => "nonsense",
        }
    }
}
