//! The span of a call. Its attributes are recorded as they become known. None is content: not the texts at
//! which answers are to stop either, and of what an engine says only words that are known. Where nobody
//! records the request there is no such span (ADR 21), and none of this is worked out.

use http::Uri;
use tracing::{Span, field, field::Empty, info_span};
use wanwu_ids::CallId;
use wanwu_tariff::Unit;
use wanwu_telemetry::set_words;

use super::PROVIDER;
use crate::domain::{
    answer::Said,
    finish::{FinishReason, FinishReasons},
    request_body::RequestBody,
    shape::Shape,
    usage::{Outcome, Tokens},
};

/// A field that the spans of calls have, and no others.
const OPERATION: &str = "gen_ai.operation.name";

/// The longest name of a model that there is not which is shown, in bytes.
const MAX_UNKNOWN_BYTES: usize = 128;

/// The span of a call, where somebody records it.
#[derive(Clone, Debug)]
pub struct CallSpan(Option<Span>);

/// How a call ended.
#[derive(Clone, Copy, Debug)]
pub struct End<'a> {
    /// With what.
    pub outcome: Outcome,
    /// What is billed.
    pub tokens: Tokens,
    /// The engine's name of the model.
    pub engine_model: &'a str,
    /// How many answers the model was to make; 0: what it makes has no end that would have a reason.
    pub answers: u64,
    /// What the engine said of them; none: it did not begin.
    pub said: Option<&'a Said>,
}

/// The span of a call. It has the name of its operation alone while no model is known.
#[must_use]
pub fn span(shape: Shape) -> Span {
    info_span!(
        "inference.chat",
        otel.name = shape.operation(),
        otel.kind = "client",
        otel.status_code = Empty,
        call.id = Empty,
        gen_ai.operation.name = shape.operation(),
        gen_ai.provider.name = PROVIDER,
        gen_ai.request.model = Empty,
        gen_ai.request.stream = Empty,
        gen_ai.request.max_tokens = Empty,
        gen_ai.request.choice.count = Empty,
        gen_ai.request.temperature = Empty,
        gen_ai.request.top_p = Empty,
        gen_ai.request.frequency_penalty = Empty,
        gen_ai.request.presence_penalty = Empty,
        gen_ai.request.seed = Empty,
        gen_ai.output.type = Empty,
        gen_ai.response.id = Empty,
        gen_ai.response.model = Empty,
        gen_ai.usage.input_tokens = Empty,
        gen_ai.usage.cache_read.input_tokens = Empty,
        gen_ai.usage.output_tokens = Empty,
        gen_ai.usage.reasoning.output_tokens = Empty,
        server.address = Empty,
        server.port = Empty,
        error.type = Empty,
    )
}

impl CallSpan {
    /// The current span, where it is a call's.
    #[must_use]
    pub fn current() -> Self {
        let span = Span::current();
        Self(span.has_field(OPERATION).then_some(span))
    }

    /// Somebody records it.
    #[must_use]
    pub const fn is_recorded(&self) -> bool {
        self.0.is_some()
    }

    /// A step of the call. Nobody is asked whether there is to be a span where the call has none.
    #[must_use]
    pub fn step(&self, span: impl FnOnce() -> Span) -> Span {
        match self.0 {
            Some(_) => span(),
            None => Span::none(),
        }
    }

    /// The call has this id.
    pub fn called(&self, call: CallId) {
        if let Some(span) = &self.0 {
            span.record("call.id", field::display(call));
        }
    }

    /// What was asked for, and whether there `is_such` a model: then the span gets the name of the conventions,
    /// which is not to hold what clients make up. To be told before a step below the span begins, because
    /// then OpenTelemetry takes no name any more.
    pub fn asked(&self, body: &RequestBody, is_such: bool) {
        let Some(span) = &self.0 else { return };
        if is_such {
            let name = format!("{} {}", body.shape().operation(), body.model());
            span.record("otel.name", name);
        }
        if is_such || body.model().len() <= MAX_UNKNOWN_BYTES {
            span.record("gen_ai.request.model", body.model());
        }
        span.record("gen_ai.request.stream", body.stream().then_some(true));
        span.record("gen_ai.request.max_tokens", body.max_tokens().map(int));
        let each = body.answers_each();
        let choices = (each != 1).then(|| int(each));
        span.record("gen_ai.request.choice.count", choices);
        let settings = body.settings();
        span.record("gen_ai.request.temperature", settings.temperature);
        span.record("gen_ai.request.top_p", settings.top_p);
        let (frequency, presence) = (settings.frequency_penalty, settings.presence_penalty);
        span.record("gen_ai.request.frequency_penalty", frequency);
        span.record("gen_ai.request.presence_penalty", presence);
        span.record("gen_ai.request.seed", settings.seed);
        span.record("gen_ai.output.type", settings.output);
    }

    /// The call was refused before its dispatch, for the reason that its client is told.
    pub fn refused(&self, reason: &'static str) {
        if let Some(span) = &self.0 {
            span.record("error.type", reason);
        }
    }

    /// An engine at this address begins to answer.
    pub fn answered_by(&self, url: &str) {
        let Some(span) = &self.0 else { return };
        let Ok(uri) = url.parse::<Uri>() else { return };
        let usual = match uri.scheme_str() {
            Some("https") => 443,
            _ => 80,
        };
        span.record("server.address", uri.host());
        span.record("server.port", i64::from(uri.port_u16().unwrap_or(usual)));
    }

    /// The call ended.
    pub fn ended(&self, end: End<'_>) {
        let Some(span) = &self.0 else { return };
        let tokens = end.tokens;
        let part = |unit| int(tokens.parts.of(unit));
        span.record("gen_ai.response.model", end.engine_model);
        span.record("gen_ai.usage.input_tokens", int(tokens.input));
        let cached = part(Unit::CachedInputToken);
        span.record("gen_ai.usage.cache_read.input_tokens", cached);
        span.record("gen_ai.usage.output_tokens", int(tokens.output));
        let reasoning = Some(part(Unit::ReasoningToken)).filter(|tokens| *tokens > 0);
        span.record("gen_ai.usage.reasoning.output_tokens", reasoning);
        if end.outcome != Outcome::Completed {
            span.record("error.type", end.outcome.as_str());
        }
        if end.outcome == Outcome::EngineFailed {
            span.record("otel.status_code", "ERROR");
        }
        let Some(said) = end.said else { return };
        span.record("gen_ai.response.id", said.id.as_deref());
        if end.answers > 0 {
            let reasons = match end.outcome {
                // As its client is told.
                Outcome::ContentStopped => FinishReasons::all(FinishReason::ContentFilter),
                _ => said.reasons,
            };
            let words = reasons.words(end.answers);
            set_words(span, "gen_ai.response.finish_reasons", words);
        }
    }
}

/// Counts are numbers in a span only as `i64`; all others would become text.
fn int(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
