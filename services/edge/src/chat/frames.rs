//! `CreateChatCompletionResponse`, read where it lies.

use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};
use tonic::Status;
use wanwu_access::{Reason, refusal};

use crate::messages::Messages;

/// One frame of an answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) content: Content,
    /// The call; in the first frame.
    pub(super) call_id: String,
    /// The request asked for a stream; in the first frame.
    pub(super) stream: bool,
}

/// What a frame holds.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// JSON of the answer or of a chunk of it.
    Data(Bytes),
    /// JSON of an error, which ends the answer.
    Error(Bytes),
}

/// The frames of an answer.
pub(super) struct Frames(Messages);

const DATA: u32 = 1;
const ERROR: u32 = 2;
const CALL_ID: u32 = 3;
const STREAM: u32 = 4;

impl Frames {
    pub(super) fn new(messages: Messages) -> Self {
        Self(messages)
    }

    pub(super) async fn next(&mut self) -> Result<Option<Frame>, Status> {
        std::future::poll_fn(|task| self.poll_next(task)).await
    }

    pub(super) fn poll_next(
        &mut self,
        task: &mut Context<'_>,
    ) -> Poll<Result<Option<Frame>, Status>> {
        let Some(message) = ready!(self.0.poll_next(task))? else {
            return Poll::Ready(Ok(None));
        };
        let frame = decode(message);
        if frame.is_none() {
            tracing::error!("a frame of a chat answer cannot be read");
        }
        Poll::Ready(frame.map(Some).ok_or_else(|| refusal(Reason::Internal)))
    }
}

/// `None`: the message is cut.
fn decode(mut message: Bytes) -> Option<Frame> {
    let mut frame = Frame {
        content: Content::Data(Bytes::new()),
        call_id: String::new(),
        stream: false,
    };
    while message.has_remaining() {
        let (tag, wire) = decode_key(&mut message).ok()?;
        match (tag, wire) {
            (DATA, WireType::LengthDelimited) => {
                frame.content = Content::Data(piece(&mut message)?);
            }
            (ERROR, WireType::LengthDelimited) => {
                frame.content = Content::Error(piece(&mut message)?);
            }
            (CALL_ID, WireType::LengthDelimited) => {
                frame.call_id = String::from_utf8_lossy(&piece(&mut message)?).into_owned();
            }
            (STREAM, WireType::Varint) => frame.stream = decode_varint(&mut message).ok()? != 0,
            _ => skip_field(wire, tag, &mut message, DecodeContext::default()).ok()?,
        }
    }
    Some(frame)
}

fn piece(message: &mut Bytes) -> Option<Bytes> {
    let length = usize::try_from(decode_varint(message).ok()?).ok()?;
    (length <= message.remaining()).then(|| message.split_to(length))
}

#[cfg(test)]
mod tests {
    use prost::Message;
    use wanwu_proto::inference::v1::{
        CreateChatCompletionResponse, create_chat_completion_response,
    };

    use super::*;

    #[test]
    fn a_frame_is_what_prost_would_read() {
        let message = CreateChatCompletionResponse {
            frame: Some(create_chat_completion_response::Frame::Data(b"{}".to_vec())),
            call_id: "call".to_owned(),
            stream: true,
        };
        let mut bytes = message.encode_to_vec();
        // A field that is younger than this build.
        bytes.extend_from_slice(&[0xf8, 0x07, 0x01]);
        let expected = Frame {
            content: Content::Data(Bytes::from_static(b"{}")),
            call_id: "call".to_owned(),
            stream: true,
        };
        assert_eq!(decode(bytes.into()).unwrap(), expected);

        let frame = Some(create_chat_completion_response::Frame::Error(
            b"{\"e\"}".to_vec(),
        ));
        let message = CreateChatCompletionResponse {
            frame,
            ..Default::default()
        };
        let read = decode(message.encode_to_vec().into()).unwrap();
        assert_eq!(read.content, Content::Error(Bytes::from_static(b"{\"e\"}")));
        assert!(!read.stream);
    }

    #[test]
    fn a_frame_that_is_cut_is_refused() {
        assert!(decode(Bytes::from_static(&[0x0a, 0x05, b'x'])).is_none());
        assert!(decode(Bytes::from_static(&[0x0a])).is_none());
    }
}
