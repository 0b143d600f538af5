//! How the prompt of a request begins: what begins alike goes to the same replica of
//! inference-routing, which knows where its prefix is cached (ADR 10).
//!
//! The body is looked at as bytes, not parsed: a wrong guess costs a cache, nothing else.

use std::borrow::Cow;

use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};
use wanwu_grpc::{Affinity, stable_hash};

use crate::{messages::PREFIX, unread_body::Whole};

/// The field of a request that is its body.
const BODY: u32 = 1;

/// So much of a body is looked at.
const HEAD: usize = 16 << 10;
/// So much of a conversation counts: some 1,024 tokens of English.
const CONVERSATION: usize = 4 << 10;
/// So much of a text without messages, which may grow from call to call.
const TEXT: usize = 1 << 10;

/// The hash of a prompt's beginning: a conversation (`messages`, or an `input` in which a user speaks) up to
/// the end of its first message of a user, which is the same in all its turns, or the first kibibyte of a
/// text.
#[must_use]
pub fn affinity(body: &Whole) -> Affinity {
    let head = head(body);
    Affinity(stable_hash(beginning(&head)))
}

/// The same of a gRPC request whose field 1 is such a body, by as much of its framed message as has
/// come. None: the message is compressed, or does not begin like one.
#[must_use]
pub fn affinity_of_message(framed: &[u8]) -> Option<Affinity> {
    let mut message = match *framed.get(..PREFIX)? {
        [0, ..] => &framed[PREFIX..],
        _ => return None,
    };
    loop {
        let (tag, wire_type) = decode_key(&mut message).ok()?;
        if (tag, wire_type) == (BODY, WireType::LengthDelimited) {
            let length = decode_varint(&mut message).ok()?;
            let length = usize::try_from(length).unwrap_or(usize::MAX);
            let head = &message[..message.len().min(length).min(HEAD)];
            return Some(Affinity(stable_hash(beginning(head))));
        }
        skip_field(wire_type, tag, &mut message, DecodeContext::default()).ok()?;
    }
}

/// So much of a framed message has come that waiting for more of it changes nothing.
#[must_use]
pub fn is_enough(framed: &[u8]) -> bool {
    let Some([_, length @ ..]) = framed.first_chunk::<PREFIX>() else {
        return false;
    };
    let length = u32::from_be_bytes(*length) as usize;
    framed.len() - PREFIX >= length.min(HEAD)
}

fn head(body: &Whole) -> Cow<'_, [u8]> {
    match body.pieces.as_slice() {
        [] => Cow::Borrowed(&[]),
        [first, rest @ ..] if rest.is_empty() || first.len() >= HEAD => {
            Cow::Borrowed(&first[..first.len().min(HEAD)])
        }
        pieces => {
            let bytes = pieces.iter().flat_map(|piece| piece.iter().copied());
            Cow::Owned(bytes.take(HEAD).collect())
        }
    }
}

fn beginning(head: &[u8]) -> &[u8] {
    let mut walk = Walk::new(head);
    while let Some(token) = walk.next() {
        let Token::Key { name, depth: 1 } = token else {
            continue;
        };
        let from = walk.at;
        match name {
            b"messages" => {
                let ended = walk.end_of_first_question();
                let to = ended.map_or(head.len(), |(to, _)| to);
                return &head[from..to.min(from + CONVERSATION)];
            }
            b"input" if walk.is_array() => {
                // In texts that are to be embedded no user speaks.
                let to = match walk.end_of_first_question() {
                    Some((to, true)) => to.min(from + CONVERSATION),
                    _ => head.len().min(from + TEXT),
                };
                return &head[from..to];
            }
            b"prompt" | b"input" => return &head[from..head.len().min(from + TEXT)],
            _ => {}
        }
    }
    &head[..head.len().min(CONVERSATION)]
}

/// What is met on the way through JSON that may be cut, or none.
enum Token<'a> {
    Key { name: &'a [u8], depth: usize },
    Text(&'a [u8]),
    Closed { depth: usize },
}

struct Walk<'a> {
    json: &'a [u8],
    at: usize,
    depth: usize,
}

impl<'a> Walk<'a> {
    const fn new(json: &'a [u8]) -> Self {
        Self {
            json,
            at: 0,
            depth: 0,
        }
    }

    fn next(&mut self) -> Option<Token<'a>> {
        loop {
            let byte = *self.json.get(self.at)?;
            self.at += 1;
            match byte {
                b'{' | b'[' => self.depth += 1,
                b'}' | b']' => {
                    self.depth = self.depth.saturating_sub(1);
                    return Some(Token::Closed { depth: self.depth });
                }
                b'"' => {
                    let text = self.text()?;
                    return Some(if self.colon() {
                        let depth = self.depth;
                        Token::Key { name: text, depth }
                    } else {
                        Token::Text(text)
                    });
                }
                _ => {}
            }
        }
    }

    /// The text whose opening quote was passed, escapes as they are; none: it is cut.
    fn text(&mut self) -> Option<&'a [u8]> {
        let from = self.at;
        loop {
            match self.json.get(self.at)? {
                b'"' => break,
                b'\\' => self.at += 2,
                _ => self.at += 1,
            }
        }
        self.at += 1;
        Some(&self.json[from..self.at - 1])
    }

    /// Passes a colon if one comes next.
    fn colon(&mut self) -> bool {
        let rest = &self.json[self.at.min(self.json.len())..];
        let blank = rest.iter().take_while(|b| b.is_ascii_whitespace()).count();
        let comes = rest.get(blank) == Some(&b':');
        if comes {
            self.at += blank + 1;
        }
        comes
    }

    /// An array comes next.
    fn is_array(&self) -> bool {
        let rest = self.json.get(self.at..).unwrap_or_default();
        rest.trim_ascii_start().first() == Some(&b'[')
    }

    /// Where the first message of a user ends (`true`), or the array of messages where no user speaks in it
    /// (`false`). The array comes next.
    fn end_of_first_question(&mut self) -> Option<(usize, bool)> {
        let (mut role, mut user) = (false, false);
        loop {
            match self.next()? {
                Token::Key { name, depth: 3 } => role = name == b"role",
                Token::Text(text) if self.depth == 3 => user |= role && text == b"user",
                Token::Closed { depth: 2 } if user => return Some((self.at, true)),
                Token::Closed { depth: 1 } => return Some((self.at, false)),
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use prost::Message;
    use wanwu_proto::inference::v1::CreateChatCompletionRequest;

    use super::*;
    use crate::messages::put_prefix;

    fn of(body: &str) -> Affinity {
        in_pieces(body, usize::MAX)
    }

    fn in_pieces(body: &str, size: usize) -> Affinity {
        let pieces = body.as_bytes().chunks(size.min(body.len().max(1)));
        affinity(&Whole {
            pieces: pieces.map(Bytes::copy_from_slice).collect(),
            length: body.len(),
        })
    }

    fn chat(settings: &str, messages: &str) -> Affinity {
        of(&format!("{{{settings}\"messages\": [{messages}]}}"))
    }

    const SYSTEM: &str = r#"{"role": "system", "content": "Be \"kind\" } ]"}"#;
    const FIRST: &str = r#"{"content": [{"type": "text", "text": "user"}], "role": "user"}"#;

    #[test]
    fn all_turns_of_a_conversation_begin_alike() {
        let turn = |rest: &str| chat("", &format!("{SYSTEM}, {FIRST}{rest}"));
        let first = turn("");
        assert_eq!(
            first,
            turn(r#", {"role": "assistant", "content": "Hello"}"#)
        );
        let third = r#", {"role": "assistant", "content": "H"}, {"role": "user", "content": "?"}"#;
        assert_eq!(first, turn(third));
    }

    #[test]
    fn all_turns_of_a_response_begin_alike() {
        let input = |items: &str| of(&format!(r#"{{"input": [{items}], "model": "m"}}"#));
        let turn = |rest: &str| input(&format!("{SYSTEM}, {FIRST}{rest}"));
        let first = turn("");
        let second = r#", {"type": "message", "role": "assistant", "content": []}"#;
        assert_eq!(first, turn(second));
        assert_eq!(first, turn(&format!("{second}, {FIRST}")));
        let other = FIRST.replace("\"user\"}]", "\"else\"}]");
        assert_ne!(first, input(&format!("{SYSTEM}, {other}")));
    }

    #[test]
    fn an_input_in_which_no_user_speaks_is_text() {
        let texts = |tail: &str| {
            let body = format!(r#"{{"input": ["{}", "{tail}"]}}"#, "x".repeat(TEXT));
            of(&body)
        };
        assert_eq!(texts("a"), texts("b"));
        assert_ne!(
            of(r#"{"input": ["a", "b"]}"#),
            of(r#"{"input": ["a", "c"]}"#)
        );
        // A user in what comes behind it is none of it.
        let long = |tail: &str| {
            let text = "x".repeat(TEXT);
            of(&format!(
                r#"{{"input": "{text}{tail}", "tools": [{FIRST}]}}"#
            ))
        };
        assert_eq!(long("a"), long("b"));
    }

    #[test]
    fn what_comes_beside_the_messages_does_not_count() {
        let messages = format!("{SYSTEM},{FIRST}");
        let plain = chat("", &messages);
        let settings = r#""model": "m", "stop": ["\\", "messages"], "stream": true, "#;
        assert_eq!(plain, chat(settings, &messages));
        let nested = r#""tools": [{"messages": [1, {"role": "user"}]}], "#;
        assert_eq!(plain, chat(nested, &messages));
    }

    #[test]
    fn another_question_begins_otherwise() {
        let other = FIRST.replace("\"user\"}]", "\"else\"}]");
        let with = |question: &str| chat("", &format!("{SYSTEM},{question}"));
        assert_ne!(with(FIRST), with(&other));
        assert_ne!(chat("", FIRST), with(FIRST));
    }

    #[test]
    fn only_the_beginning_of_a_long_text_counts() {
        let long = |tail: &str| {
            chat(
                "",
                &format!(
                    r#"{{"role": "user", "content": "{}{tail}"}}"#,
                    "x".repeat(CONVERSATION)
                ),
            )
        };
        assert_eq!(long("a"), long("b"));
        let text = |tail: &str| of(&format!(r#"{{"prompt": "{}{tail}"}}"#, "x".repeat(TEXT)));
        assert_eq!(text("a"), text("b"));
        assert_ne!(of(r#"{"prompt": "a"}"#), of(r#"{"prompt": "b"}"#));
        assert_ne!(of(r#"{"input": "a"}"#), of(r#"{"input": "b"}"#));
    }

    #[test]
    fn a_message_begins_as_the_body_in_it() {
        let body = format!("{{\"messages\": [{SYSTEM}, {FIRST}]}}");
        for (device_token, long) in [("", false), ("device", true)] {
            let mut body = body.clone();
            if long {
                body.push_str(&" ".repeat(2 * HEAD));
            }
            let message = CreateChatCompletionRequest {
                body: Bytes::from(body.clone()),
                device_token: device_token.to_owned(),
                idempotency_key: String::new(),
            };
            let framed = framed(&message);
            assert!(is_enough(&framed));
            assert_eq!(affinity_of_message(&framed), Some(of(&body)));
            let first = (0..framed.len())
                .find(|length| is_enough(&framed[..*length]))
                .unwrap_or(framed.len());
            assert_eq!(affinity_of_message(&framed[..first]), Some(of(&body)));
        }
    }

    #[test]
    fn a_message_that_cannot_be_read_has_no_beginning() {
        let mut compressed = framed(&CreateChatCompletionRequest::default());
        compressed[0] = 1;
        let garbage = [0, 0, 0, 0, 3, 0xff, 0xff, 0xff];
        for bytes in [&compressed[..], &garbage, &[0, 0], &[]] {
            assert_eq!(affinity_of_message(bytes), None, "{bytes:?}");
        }
    }

    fn framed(message: &CreateChatCompletionRequest) -> Vec<u8> {
        let mut framed = Vec::new();
        put_prefix(&mut framed, message.encoded_len());
        message.encode(&mut framed).unwrap();
        framed
    }

    #[test]
    fn however_the_bytes_come_and_whatever_they_are_there_is_an_answer() {
        let body = format!("{{\"messages\": [{SYSTEM}, {FIRST}]}}");
        for size in 1..body.len() {
            assert_eq!(in_pieces(&body, size), of(&body), "{size}");
            of(&body[..size]);
        }
        for nonsense in ["", "\"", "\"\\", "}}}]", "{\"messages\":", "[[[", "\u{0}"] {
            of(nonsense);
        }
    }
}
