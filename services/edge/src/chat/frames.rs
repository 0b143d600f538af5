//! The frames of a chat answer.

use std::task::{Context, Poll, ready};

use bytes::Bytes;
use prost::Message;
use tonic::Status;
use wanwu_access::{Reason, refusal};
use wanwu_proto::inference::v1::{CreateChatCompletionResponse, create_chat_completion_response};

use crate::messages::Messages;

/// One frame of an answer. Its JSON lies where it arrived: nothing is copied.
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

fn decode(message: Bytes) -> Option<Frame> {
    let response = CreateChatCompletionResponse::decode(message).ok()?;
    let content = match response.frame? {
        create_chat_completion_response::Frame::Data(json) => Content::Data(json),
        create_chat_completion_response::Frame::Error(json) => Content::Error(json),
    };
    Some(Frame {
        content,
        call_id: response.call_id,
        stream: response.stream,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_json_of_a_frame_is_not_copied() {
        let frame = create_chat_completion_response::Frame::Data(Bytes::from_static(b"{\"a\": 1}"));
        let message = CreateChatCompletionResponse {
            frame: Some(frame),
            call_id: "call".to_owned(),
            stream: true,
        };
        let bytes = Bytes::from(message.encode_to_vec());
        let place = bytes.as_ptr_range();
        let frame = decode(bytes).unwrap();
        let Content::Data(json) = frame.content else {
            panic!("it is data");
        };
        assert!(place.contains(&json.as_ptr()));
        assert!(frame.stream);
    }

    #[test]
    fn a_frame_that_is_cut_or_empty_is_refused() {
        assert!(decode(Bytes::from_static(&[0x0a, 0x05, b'x'])).is_none());
        assert!(decode(Bytes::new()).is_none());
    }
}
