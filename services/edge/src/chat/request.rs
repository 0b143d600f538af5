//! `CreateChatCompletionRequest` around a body that is not copied.

use bytes::{BufMut, Bytes, BytesMut};
use futures::stream;
use http_body::Frame;
use http_body_util::{Full, StreamBody};
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint, key_len};
use tonic::{Status, body::Body};

use crate::{
    messages::{PREFIX, put_prefix},
    unread_body::Whole,
};

/// Up to here one copy is cheaper than several writes.
const SMALL: usize = 16 << 10;
const BODY: u32 = 1;
const DEVICE_TOKEN: u32 = 2;
const IDEMPOTENCY_KEY: u32 = 3;

/// The framed message.
pub(super) fn encode(body: Whole, device_token: &str, idempotency_key: &str) -> Body {
    let tail_length = field_len(DEVICE_TOKEN, device_token.len())
        + field_len(IDEMPOTENCY_KEY, idempotency_key.len());
    let length = field_len(BODY, body.length) + tail_length;
    let small = length <= SMALL;
    let capacity = if small {
        PREFIX + length
    } else {
        PREFIX + field_len(BODY, 1) + 10
    };
    let mut head = BytesMut::with_capacity(capacity);
    put_prefix(&mut head, length);
    if body.length > 0 {
        put_head(&mut head, BODY, body.length);
    }
    if small {
        for piece in &body.pieces {
            head.put_slice(piece);
        }
        put_tail(&mut head, device_token, idempotency_key);
        return Body::new(Full::new(head.freeze()));
    }
    let mut tail = BytesMut::with_capacity(tail_length);
    put_tail(&mut tail, device_token, idempotency_key);
    let mut pieces = Vec::with_capacity(body.pieces.len() + 2);
    pieces.push(head.freeze());
    pieces.extend(body.pieces);
    pieces.push(tail.freeze());
    pieces.retain(|piece: &Bytes| !piece.is_empty());
    let frames = pieces
        .into_iter()
        .map(|piece| Ok::<_, Status>(Frame::data(piece)));
    Body::new(StreamBody::new(stream::iter(frames)))
}

/// A field that is empty is not sent.
fn field_len(tag: u32, length: usize) -> usize {
    if length == 0 {
        return 0;
    }
    key_len(tag) + encoded_len_varint(length as u64) + length
}

fn put_head(buffer: &mut BytesMut, tag: u32, length: usize) {
    encode_key(tag, WireType::LengthDelimited, buffer);
    encode_varint(length as u64, buffer);
}

fn put_tail(buffer: &mut BytesMut, device_token: &str, idempotency_key: &str) {
    for (tag, text) in [
        (DEVICE_TOKEN, device_token),
        (IDEMPOTENCY_KEY, idempotency_key),
    ] {
        if !text.is_empty() {
            put_head(buffer, tag, text.len());
            buffer.put_slice(text.as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;
    use prost::Message;
    use wanwu_proto::inference::v1::CreateChatCompletionRequest;

    use super::*;

    #[tokio::test]
    async fn the_message_is_what_prost_would_write() {
        for (length, device, key) in [
            (0, "", ""),
            (3, "device", "key"),
            (127, "", "key"),
            (SMALL, "", ""),
            (3_000_000, "device", ""),
        ] {
            let bytes = vec![b'x'; length];
            let pieces = bytes.chunks(1000).map(Bytes::copy_from_slice).collect();
            let body = encode(Whole { pieces, length }, device, key);
            let sent = body.collect().await.unwrap().to_bytes();
            let message = CreateChatCompletionRequest {
                body: bytes.into(),
                device_token: device.to_owned(),
                idempotency_key: key.to_owned(),
            };
            let mut expected = Vec::new();
            put_prefix(&mut expected, message.encoded_len());
            message.encode(&mut expected).unwrap();
            assert_eq!(sent, expected, "{length}");
        }
    }
}
