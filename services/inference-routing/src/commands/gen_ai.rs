//! What OpenTelemetry's semantic conventions for generative AI say of a call: attributes of its span,
//! and metrics by model. Neither holds content.

use std::time::Duration;

use tokio::time::Instant;
use tracing::{Span, field::Empty, info_span};

use crate::domain::{
    request_body::RequestBody,
    shape::Shape,
    usage::{Outcome, Tokens},
};

/// The span of a call, whose attributes are recorded as they become known.
#[must_use]
pub fn span(shape: Shape) -> Span {
    info_span!(
        "inference.chat",
        otel.name = format!("inference.{}", shape.name()),
        call.id = Empty,
        gen_ai.operation.name = shape.operation(),
        gen_ai.request.model = Empty,
        gen_ai.request.max_tokens = Empty,
        gen_ai.request.stream = Empty,
        gen_ai.response.model = Empty,
        gen_ai.usage.input_tokens = Empty,
        gen_ai.usage.output_tokens = Empty,
        error.type = Empty,
    )
}

/// What was asked for, on the span of the call, which is the current one.
pub fn asked(body: &RequestBody) {
    let span = Span::current();
    span.record("gen_ai.request.model", body.model());
    span.record("gen_ai.request.stream", body.stream());
    if let Some(limit) = body.max_tokens() {
        span.record("gen_ai.request.max_tokens", limit);
    }
}

/// When things happened in a call.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    began: Instant,
    first: Option<Instant>,
}

impl Times {
    /// The call begins now.
    #[must_use]
    pub fn begin() -> Self {
        Self {
            began: Instant::now(),
            first: None,
        }
    }

    /// The engine's answer begins now.
    pub fn first(&mut self, model: &str) {
        let now = Instant::now();
        self.first = Some(now);
        metrics::histogram!("gen_ai_server_time_to_first_token_seconds", "gen_ai_request_model" => model.to_owned())
            .record(now - self.began);
    }

    /// The call ends now, with what is billed for it.
    pub fn ended(&self, model: &str, engine_model: &str, outcome: Outcome, tokens: Tokens) {
        let span = Span::current();
        span.record("gen_ai.response.model", engine_model);
        span.record("gen_ai.usage.input_tokens", tokens.input);
        span.record("gen_ai.usage.output_tokens", tokens.output);
        if outcome != Outcome::Completed {
            span.record("error.type", outcome.as_str());
        }
        metrics::histogram!("gen_ai_server_request_duration_seconds",
            "gen_ai_request_model" => model.to_owned(), "error_type" => error_type(outcome))
        .record(self.began.elapsed());
        if let Some(each) = self.each_token(Instant::now(), tokens.output) {
            metrics::histogram!("gen_ai_server_time_per_output_token_seconds", "gen_ai_request_model" => model.to_owned())
                .record(each);
        }
        for (kind, count) in [("input", tokens.input), ("output", tokens.output)] {
            metrics::counter!("gen_ai_tokens",
                "gen_ai_request_model" => model.to_owned(), "gen_ai_token_type" => kind)
            .increment(count);
        }
    }

    /// The mean time of a token after the first; none where there is no second.
    fn each_token(&self, end: Instant, tokens: u64) -> Option<Duration> {
        let gaps = u32::try_from(tokens.checked_sub(1)?).ok()?;
        (end - self.first?).checked_div(gaps)
    }
}

/// `error.type` of the conventions: empty where nothing went wrong.
const fn error_type(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Completed => "",
        other => other.as_str(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_takes_the_time_after_the_first_by_the_gaps() {
        let began = Instant::now();
        let times = Times {
            began,
            first: Some(began + Duration::from_secs(1)),
        };
        let end = began + Duration::from_secs(3);
        assert_eq!(times.each_token(end, 5), Some(Duration::from_millis(500)));
        assert_eq!(times.each_token(end, 1), None);
        assert_eq!(times.each_token(end, 0), None);
        let silent = Times {
            first: None,
            ..times
        };
        assert_eq!(silent.each_token(end, 5), None);
    }
}
