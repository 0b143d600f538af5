//! The chunk as it goes on to the client.

use std::ops::Range;

use bytes::Bytes;

use super::Chunk;

/// What to change in a chunk.
#[derive(Clone, Copy, Debug, Default)]
pub struct Edits<'a> {
    /// Take the usage out.
    pub without_usage: bool,
    /// Name this model, as JSON text.
    pub model: Option<&'a str>,
    /// Put this label in, as JSON text.
    pub label: Option<&'a str>,
}

impl Chunk<'_> {
    /// The chunk as it goes on to the client.
    #[must_use]
    pub fn edited(&self, edits: Edits<'_>) -> Bytes {
        let usage = match &self.usage {
            Some((_, at)) if edits.without_usage => Some(member(self.raw, at)),
            _ => None,
        };
        let model = edits
            .model
            .and_then(|name| Some((self.model_at.clone()?, name)));
        if usage.is_none() && model.is_none() && edits.label.is_none() {
            return self.raw.clone();
        }
        let mut spliced: Vec<(Range<usize>, String)> = Vec::with_capacity(3);
        spliced.extend(usage.map(|at| (at, String::new())));
        spliced.extend(model.map(|(at, name)| (at, name.to_owned())));
        spliced.sort_by_key(|(at, _)| at.start);
        let mut out = Vec::with_capacity(self.raw.len() + 256);
        let mut from = 0;
        for (at, text) in spliced {
            out.extend_from_slice(&self.raw[from..at.start]);
            out.extend_from_slice(text.as_bytes());
            from = at.end;
        }
        out.extend_from_slice(&self.raw[from..]);
        match edits.label {
            Some(label) => labelled(&out, label),
            None => out.into(),
        }
    }
}

/// A JSON object with `"aigc":<label>` as its last member.
#[must_use]
pub fn labelled(json: &[u8], label: &str) -> Bytes {
    let Some(close) = json.iter().rposition(|b| *b == b'}') else {
        return Bytes::copy_from_slice(json);
    };
    let before = json[..close].iter().rposition(|b| !b.is_ascii_whitespace());
    let comma = if before.is_some_and(|at| json[at] == b'{') {
        ""
    } else {
        ","
    };
    let mut out = Vec::with_capacity(json.len() + label.len() + 9);
    out.extend_from_slice(&json[..close]);
    out.extend_from_slice(comma.as_bytes());
    out.extend_from_slice(b"\"aigc\":");
    out.extend_from_slice(label.as_bytes());
    out.extend_from_slice(&json[close..]);
    out.into()
}

/// The whole member whose value stands at `value`: its name and one of its commas too.
fn member(json: &[u8], value: &Range<usize>) -> Range<usize> {
    let blank = |b: &u8| b.is_ascii_whitespace();
    let back = |from: usize| json[..from].iter().rposition(|b| !blank(b));
    // value <- `:` <- `"` <- name <- `"`; the parser has seen that they are there.
    let name = back(value.start)
        .and_then(back)
        .and_then(|quote| json[..quote].iter().rposition(|b| *b == b'"'));
    let Some(name) = name else {
        return value.clone();
    };
    if let Some(comma) = back(name).filter(|at| json[*at] == b',') {
        return comma..value.end;
    }
    let after = json[value.end..]
        .iter()
        .position(|b| !blank(b))
        .map(|at| at + value.end);
    match after.filter(|at| json[*at] == b',') {
        Some(comma) => name..comma + 1,
        None => name..value.end,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::shape::Shape;

    fn edited(json: &str, edits: Edits<'_>) -> String {
        let raw = Bytes::copy_from_slice(json.as_bytes());
        let out = Chunk::parse(Shape::Chat, &raw).unwrap().edited(edits);
        String::from_utf8(out.to_vec()).unwrap()
    }

    #[test]
    fn usage_is_taken_out_wherever_it_stands() {
        let edits = Edits {
            without_usage: true,
            ..Edits::default()
        };
        let cases = [
            (
                r#"{"id":1,"usage":{"prompt_tokens":1},"choices":[]}"#,
                r#"{"id":1,"choices":[]}"#,
            ),
            (r#"{"usage" : null , "id":1}"#, r#"{ "id":1}"#),
            (r#"{"id":1 , "usage": {"a":{}} }"#, r#"{"id":1  }"#),
            (r#"{"usage":null}"#, "{}"),
            (r#"{"id":1}"#, r#"{"id":1}"#),
        ];
        for (json, expected) in cases {
            assert_eq!(edited(json, edits), expected);
        }
    }

    #[test]
    fn label_and_model_are_put_in_and_the_rest_stays_as_it_is() {
        let edits = Edits {
            without_usage: true,
            model: Some("\"m\""),
            label: Some("{}"),
        };
        let json = r#"{"odd": 1.50,"model":"/path","usage":{"prompt_tokens":2},"choices":[{"delta":{"x":"\u4f60"}}] }"#;
        let expected =
            r#"{"odd": 1.50,"model":"m","choices":[{"delta":{"x":"\u4f60"}}] ,"aigc":{}}"#;
        assert_eq!(edited(json, edits), expected);
        assert_eq!(labelled(b"{ }", "1"), Bytes::from_static(br#"{ "aigc":1}"#));
        assert_eq!(edited(json, Edits::default()), json);
    }
}
