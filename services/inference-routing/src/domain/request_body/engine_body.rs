//! The body that the engine gets: the client's own bytes with `model`, `stream_options`, an absent
//! limit of the answer and an absent `store` spliced in. A field that Wanwu does not know arrives
//! byte for byte.

use std::ops::Range;

use bytes::Bytes;

use super::{Fields, RequestBody, Shape, StreamOptions};

impl RequestBody {
    /// The body for the engine. `model` is the engine's name of the model, `max_tokens` the
    /// limit to set where the client set none, `continuous` asks for usage in every chunk.
    #[must_use]
    pub fn engine_body(&self, model: &str, max_tokens: Option<u64>, continuous: bool) -> Bytes {
        let mut edits: Vec<(Range<usize>, String)> = Vec::with_capacity(4);
        let mut inserted = String::new();
        let mut set = |at: Option<Range<usize>>, name: &str, value: String| match at {
            Some(at) => edits.push((at, value)),
            None => inserted.push_str(&format!("\"{name}\":{value},")),
        };
        if model != self.model {
            let name = serde_json::Value::from(model).to_string();
            set(Some(self.model_at.clone()), "model", name);
        }
        if self.stream && !self.shape.has_typed_events() {
            let options = self.stream_options.for_engine(&self.raw, continuous);
            set(self.stream_options.at.clone(), "stream_options", options);
        }
        if let (None, Some(tokens), true) = (self.max_tokens, max_tokens, self.shape.is_generated())
        {
            let name = self.shape.limit_field();
            set(self.null_limit_at.clone(), name, tokens.to_string());
        }
        if self.shape == Shape::Responses {
            // Whoever does not say otherwise has his answer stored.
            match &self.store {
                (None, true) => {}
                (at, _) => set(at.clone(), "store", "false".to_owned()),
            }
        }
        if !inserted.is_empty() {
            let open = self.raw.iter().position(|b| *b == b'{').unwrap_or_default() + 1;
            edits.push((open..open, inserted));
        }
        splice(&self.raw, edits)
    }
}

impl StreamOptions {
    /// The client's options, its unknown ones included, with usage asked for.
    fn for_engine(&self, raw: &[u8], continuous: bool) -> String {
        let mut members = String::from("{\"include_usage\":true");
        if continuous {
            members.push_str(",\"continuous_usage_stats\":true");
        }
        let client = self
            .at
            .clone()
            .and_then(|at| serde_json::from_slice(&raw[at]).ok());
        for (name, value) in client.map(|Fields(fields)| fields).unwrap_or_default() {
            let ours = name == "include_usage" || (continuous && name == "continuous_usage_stats");
            if !ours {
                let name = serde_json::Value::from(name.as_ref());
                members.push_str(&format!(",{name}:{}", value.get()));
            }
        }
        members.push('}');
        members
    }
}

/// Applies non-overlapping edits.
fn splice(raw: &Bytes, mut edits: Vec<(Range<usize>, String)>) -> Bytes {
    if edits.is_empty() {
        return raw.clone();
    }
    edits.sort_by_key(|(at, _)| at.start);
    let mut out = Vec::with_capacity(raw.len() + 128);
    let mut from = 0;
    for (at, text) in edits {
        out.extend_from_slice(&raw[from..at.start]);
        out.extend_from_slice(text.as_bytes());
        from = at.end;
    }
    out.extend_from_slice(&raw[from..]);
    out.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(body: &str) -> RequestBody {
        RequestBody::parse(Shape::Chat, Bytes::copy_from_slice(body.as_bytes())).unwrap()
    }

    fn engine_body(body: &str, model: &str, max: Option<u64>, continuous: bool) -> String {
        let bytes = parse(body).engine_body(model, max, continuous);
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    #[test]
    fn only_what_must_change_changes() {
        let body = r#" { "x\u00e9" : [1.50,  {"deep":"\u4f60"}],"model":"a","messages":[{"content":"hi"}],"max_tokens":5, "n":1 }"#;
        assert_eq!(engine_body(body, "a", Some(9), true), body);
        assert_eq!(
            engine_body(body, "b\"", None, false),
            body.replace(r#""model":"a""#, r#""model":"b\"""#)
        );
    }

    #[test]
    fn a_stream_asks_for_usage_and_keeps_the_clients_other_options() {
        let with = |options: &str| {
            format!(r#"{{"model":"m","messages":[{{}}],"max_tokens":1,"stream":true{options}}}"#)
        };
        let cases = [
            (
                "",
                true,
                r#"{"include_usage":true,"continuous_usage_stats":true}"#,
            ),
            (
                r#","stream_options":null"#,
                false,
                r#"{"include_usage":true}"#,
            ),
            (
                r#","stream_options":{"include_usage":false,"odd": [1 ]}"#,
                false,
                r#"{"include_usage":true,"odd":[1 ]}"#,
            ),
            (
                r#","stream_options":{"continuous_usage_stats":false}"#,
                true,
                r#"{"include_usage":true,"continuous_usage_stats":true}"#,
            ),
        ];
        for (options, continuous, expected) in cases {
            let sent = engine_body(&with(options), "m", None, continuous);
            let sent: serde_json::Value = serde_json::from_str(&sent).unwrap();
            assert_eq!(
                sent["stream_options"].to_string(),
                expected.replace("[1 ]", "[1]")
            );
        }
        let silent = r#"{"model":"m","messages":[{}],"max_tokens":1}"#;
        assert_eq!(engine_body(silent, "m", None, true), silent);
    }

    #[test]
    fn an_absent_limit_is_set_and_a_given_one_is_kept() {
        let absent = r#"{"model":"m","messages":[{}]}"#;
        assert_eq!(
            engine_body(absent, "m", Some(7), false),
            r#"{"max_tokens":7,"model":"m","messages":[{}]}"#
        );
        let null = r#"{"model":"m","messages":[{}],"max_tokens":null}"#;
        assert_eq!(
            engine_body(null, "m", Some(7), false),
            r#"{"model":"m","messages":[{}],"max_tokens":7}"#
        );
        let other = r#"{"model":"m","messages":[{}],"max_tokens":3,"max_completion_tokens":8}"#;
        assert_eq!(parse(other).max_tokens(), Some(8));
        assert_eq!(engine_body(other, "m", Some(7), false), other);
    }
}
