//! What OpenTelemetry's semantic conventions for generative AI say of a call: attributes of its span,
//! and metrics by model. Neither holds content.

mod call_span;
mod gaps;

use std::{sync::OnceLock, time::Duration};

use metrics::{Histogram, Label};
use tokio::time::Instant;
use wanwu_tariff::Unit;

use crate::{
    domain::{
        shape::Shape,
        usage::{Outcome, Tokens},
    },
    series::{OfShape, kept},
};
pub use call_span::{CallSpan, End, span};
pub use gaps::Gaps;

/// Who answers, by `gen_ai.provider.name` of the conventions: engines are ours to callers.
const PROVIDER: &str = "wanwu";

/// Whose times and tokens they are.
#[derive(Clone, Copy, Debug)]
pub struct Of<'a> {
    /// What was done.
    pub shape: Shape,
    /// The model whose prices are charged.
    pub priced: &'a str,
    /// The model that answers: another one where a route has shares or fallbacks.
    pub answered: &'a str,
    /// Where they are kept; none: another model answers.
    pub kept: Option<&'a OfShape>,
}

impl Of<'_> {
    /// A histogram by model, which is kept at `place`, with one label more where there is one.
    fn histogram(
        &self,
        place: fn(&OfShape) -> &OnceLock<Histogram>,
        name: &'static str,
        more: Option<Label>,
    ) -> Histogram {
        kept(self.kept.map(place), || {
            let of = |name: &'static str, value: &str| Label::new(name, value.to_owned());
            let mut labels = vec![
                Label::from_static_parts("gen_ai_provider_name", PROVIDER),
                Label::from_static_parts("gen_ai_operation_name", self.shape.operation()),
                of("gen_ai_request_model", self.priced),
                of("gen_ai_response_model", self.answered),
            ];
            labels.extend(more);
            metrics::histogram!(name, labels)
        })
    }
}

/// When things happened in a call.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    began: Instant,
    first: Option<Instant>,
}

impl Times {
    /// The call begins now: its request came, and what it waits for before an engine is asked (limits, turn,
    /// credit) is part of its times as of its client's.
    #[must_use]
    pub fn begin() -> Self {
        Self {
            began: Instant::now(),
            first: None,
        }
    }

    /// The engine's answer begins now.
    #[must_use]
    pub fn first(self, of: &Of<'_>) -> Self {
        let now = Instant::now();
        let name = "gen_ai_server_time_to_first_token_seconds";
        of.histogram(|kept| &kept.first_token, name, None)
            .record(now - self.began);
        Self {
            first: Some(now),
            ..self
        }
    }

    /// The call ends now, with what is billed for it.
    pub fn ended(&self, of: &Of<'_>, outcome: Outcome, tokens: Tokens) {
        let of = &Of {
            kept: of.kept.filter(|_| outcome == Outcome::Completed),
            ..*of
        };
        let with = |name, value: &'static str| Some(Label::from_static_parts(name, value));
        let error = with("error_type", error_type(outcome));
        let name = "gen_ai_server_request_duration_seconds";
        of.histogram(|kept| &kept.duration, name, error)
            .record(self.began.elapsed());
        if let Some(each) = self.each_token(Instant::now(), tokens.output) {
            let name = "gen_ai_server_time_per_output_token_seconds";
            of.histogram(|kept| &kept.each_token, name, None)
                .record(each);
        }
        // A call that used none has no length.
        let name = "gen_ai_client_token_usage";
        if tokens.input > 0 {
            let kind = with("gen_ai_token_type", "input");
            of.histogram(|kept| &kept.input, name, kind)
                .record(tokens.input as f64);
        }
        if tokens.output > 0 {
            let kind = with("gen_ai_token_type", "output");
            of.histogram(|kept| &kept.output, name, kind)
                .record(tokens.output as f64);
        }
        let cached = kept(of.kept.map(|kept| &kept.cached_input), || {
            metrics::counter!("inference_routing_cached_input_tokens",
                "model" => of.answered.to_owned())
        });
        cached.increment(tokens.parts.of(Unit::CachedInputToken));
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
