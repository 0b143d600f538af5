//! The reader of how prompts begin: by HTTP and by gRPC, and however the bytes come, it is the same.

use bytes::Bytes;
use edge::{
    beginning::{affinity, affinity_of_message, is_enough},
    messages::put_prefix,
    unread_body::Whole,
};
use prost::Message;
use wanwu_proto::inference::v1::CreateChatCompletionRequest;

use super::{Target, about, way};

pub(super) const TARGET: Target = Target {
    name: "beginning",
    examples: &[
        br#"{"model":"a","messages":[{"role":"system","content":"s"},{"role":"user","content":"hi"}]}"#,
        br#"{"messages":[{"content":[{"type":"text","text":"\"user\""}],"role":"user"},{"role":"assistant"}]}"#,
        br#"{"tools":[{"messages":[1]}],"prompt":"x"}"#,
        br#"{"input":["a","b"]}"#,
        b"\x00\x00\x00\x00\x04\x0a\x02{}",
        b"\x00\x00\x00\x00\x08\x12\x01d\x0a\x03{}\"",
    ],
    words: &[
        b"\"messages\":", b"\"role\":\"user\"", b"\"content\":", b"\"prompt\":", b"\"input\":", b"[{", b"}]", b"\\\"",
        b"\\\\", b"\"", b":", b"{", b"}", b"\x0a", b"\x00", b"\x01", b"\xff\xff\xff\xff\x0f",
    ],
    check,
};

fn check(input: &[u8]) -> Result<u64, String> {
    let whole = in_pieces(input, input.len().max(1));
    let expected = affinity(&whole);
    for size in [1, 7] {
        if affinity(&in_pieces(input, size)) != expected {
            return Err(format!("in pieces of {size} it begins otherwise"));
        }
    }
    let message = CreateChatCompletionRequest {
        body: Bytes::copy_from_slice(input),
        device_token: "d".to_owned(),
        idempotency_key: String::new(),
    };
    let mut framed = Vec::new();
    put_prefix(&mut framed, message.encoded_len());
    message
        .encode(&mut framed)
        .map_err(|error| error.to_string())?;
    // A body that is empty is not sent.
    let read = affinity_of_message(&framed);
    if !input.is_empty() && read != Some(expected) {
        return Err("as a message it begins otherwise".to_owned());
    }
    if !is_enough(&framed) {
        return Err("a whole message is not enough".to_owned());
    }
    // What a stranger calls a message.
    let stranger = affinity_of_message(input);
    Ok(way((
        stranger.is_some(),
        is_enough(input),
        about(input.len()),
        expected.0 % 64,
    )))
}

fn in_pieces(input: &[u8], size: usize) -> Whole {
    Whole {
        pieces: input.chunks(size).map(Bytes::copy_from_slice).collect(),
        length: input.len(),
    }
}
