//! What an engine says of usage, in the words of chat completions or of responses.

use serde::Deserialize;
use serde_json::value::RawValue;
use wanwu_tariff::{Counts, Unit};

use super::usage::Tokens;

/// Both ways to say it: some engines use both at once.
#[derive(Default, Deserialize)]
struct Usage<'a> {
    #[serde(default)]
    prompt_tokens: Option<u64>,
    #[serde(default)]
    completion_tokens: Option<u64>,
    #[serde(default)]
    input_tokens: Option<u64>,
    #[serde(default)]
    output_tokens: Option<u64>,
    #[serde(borrow, default)]
    prompt_tokens_details: Option<&'a RawValue>,
    #[serde(borrow, default)]
    completion_tokens_details: Option<&'a RawValue>,
    #[serde(borrow, default)]
    input_tokens_details: Option<&'a RawValue>,
    #[serde(borrow, default)]
    output_tokens_details: Option<&'a RawValue>,
}

/// What the tokens were.
#[derive(Default, Deserialize)]
struct Details {
    #[serde(default)]
    cached_tokens: Option<u64>,
    #[serde(default)]
    reasoning_tokens: Option<u64>,
    #[serde(default)]
    audio_tokens: Option<u64>,
    #[serde(default)]
    image_tokens: Option<u64>,
}

/// Reads the value of `usage`. What cannot be read counts as not said; details that cannot be read
/// do not take the totals with them.
#[must_use]
pub fn read(value: &RawValue) -> Tokens {
    let usage: Usage<'_> = serde_json::from_str(value.get()).unwrap_or_default();
    let details = |one: Option<&RawValue>, other: Option<&RawValue>| -> Details {
        let value = one.or(other).map(RawValue::get);
        value
            .and_then(|json| serde_json::from_str::<Option<Details>>(json).ok()?)
            .unwrap_or_default()
    };
    let input = usage.prompt_tokens.or(usage.input_tokens);
    let output = usage.completion_tokens.or(usage.output_tokens);
    let of_input = details(usage.prompt_tokens_details, usage.input_tokens_details);
    let of_output = details(usage.completion_tokens_details, usage.output_tokens_details);
    let count = Option::unwrap_or_default;
    let counts = Counts::tokens(count(input), count(output))
        .with(Unit::CachedInputToken, count(of_input.cached_tokens))
        .with(Unit::AudioInputToken, count(of_input.audio_tokens))
        .with(Unit::ImageInputToken, count(of_input.image_tokens))
        .with(Unit::ReasoningToken, count(of_output.reasoning_tokens))
        .with(Unit::AudioOutputToken, count(of_output.audio_tokens));
    Tokens::from_counts(counts.clamped())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(json: &str) -> Tokens {
        read(serde_json::from_str(json).unwrap())
    }

    fn tokens(input: u64, output: u64, parts: &[(Unit, u64)]) -> Tokens {
        let none = Counts::default();
        let parts = parts
            .iter()
            .fold(none, |all, (unit, n)| all.with(*unit, *n));
        Tokens {
            parts,
            ..Tokens::of(input, output)
        }
    }

    #[test]
    fn both_ways_to_say_it_are_understood_and_what_is_too_much_is_cut() {
        use Unit::{
            AudioInputToken, AudioOutputToken, CachedInputToken, ImageInputToken, ReasoningToken,
        };
        let cases = [
            (
                r#"{"prompt_tokens":100,"completion_tokens":40,"total_tokens":140,
                "prompt_tokens_details":{"cached_tokens":64,"audio_tokens":3,"image_tokens":5},
                "completion_tokens_details":{"reasoning_tokens":30,"audio_tokens":2,
                    "accepted_prediction_tokens":1}}"#,
                tokens(
                    100,
                    40,
                    &[
                        (CachedInputToken, 64),
                        (AudioInputToken, 3),
                        (ImageInputToken, 5),
                        (ReasoningToken, 30),
                        (AudioOutputToken, 2),
                    ],
                ),
            ),
            (
                r#"{"input_tokens":10,"output_tokens":4,"input_tokens_details":{"cached_tokens":8},
                "output_tokens_details":{"reasoning_tokens":3}}"#,
                tokens(10, 4, &[(CachedInputToken, 8), (ReasoningToken, 3)]),
            ),
            (
                r#"{"prompt_tokens":10,"input_tokens":10,"completion_tokens":4,"output_tokens":4,
                "prompt_tokens_details":null,"completion_tokens_details":{"reasoning_tokens":null}}"#,
                tokens(10, 4, &[]),
            ),
            (
                r#"{"prompt_tokens":10,"completion_tokens":4,"prompt_tokens_details":{"cached_tokens":-1},
                "completion_tokens_details":"none"}"#,
                tokens(10, 4, &[]),
            ),
            (
                r#"{"prompt_tokens":10,"completion_tokens":0,"prompt_tokens_details":{"cached_tokens":99},
                "completion_tokens_details":{"reasoning_tokens":1}}"#,
                tokens(10, 0, &[(CachedInputToken, 10)]),
            ),
            (r#"{"prompt_tokens":1.5}"#, Tokens::default()),
            ("[]", Tokens::default()),
            ("null", Tokens::default()),
        ];
        for (json, expected) in cases {
            assert_eq!(read_text(json), expected, "{json}");
        }
    }
}
