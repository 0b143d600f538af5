//! The frames of an answer.

use std::task::{Context, Poll, ready};

use bytes::Bytes;
use prost::Message;
use tonic::Status;
use wanwu_access::{Reason, refusal};
use wanwu_proto::inference::v1::{CreateResponseResponse, create_response_response};

use crate::messages::Messages;

/// One frame of an answer. Its JSON lies where it arrived: nothing is copied.
pub(super) struct Frame {
    pub(super) content: Content,
    /// The call; in the first frame.
    pub(super) call_id: String,
    /// The request asked for a stream; in the first frame.
    pub(super) stream: bool,
    /// The name of the event; empty where events have no names.
    pub(super) event: String,
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
            tracing::error!("a frame of an answer cannot be read");
        }
        Poll::Ready(frame.map(Some).ok_or_else(|| refusal(Reason::Internal)))
    }
}

/// The messages of all shapes are alike on the wire; this is the one with the most fields.
fn decode(message: Bytes) -> Option<Frame> {
    let response = CreateResponseResponse::decode(message).ok()?;
    let content = match response.frame? {
        create_response_response::Frame::Data(json) => Content::Data(json),
        create_response_response::Frame::Error(json) => Content::Error(json),
    };
    Some(Frame {
        content,
        call_id: response.call_id,
        stream: response.stream,
        event: response.event,
    })
}

#[cfg(test)]
mod tests {
    use wanwu_proto::inference::v1::{
        CreateChatCompletionResponse, CreateCompletionResponse, CreateEmbeddingResponse,
        create_chat_completion_response, create_completion_response, create_embedding_response,
    };

    use super::*;

    #[test]
    fn frames_of_every_shape_are_alike_on_the_wire() {
        let json = || Bytes::from_static(b"{}");
        let call_id = || "call".to_owned();
        let chat = CreateChatCompletionResponse {
            frame: Some(create_chat_completion_response::Frame::Data(json())),
            call_id: call_id(),
            stream: true,
        };
        let completion = CreateCompletionResponse {
            frame: Some(create_completion_response::Frame::Data(json())),
            call_id: call_id(),
            stream: true,
        };
        let embedding = CreateEmbeddingResponse {
            frame: Some(create_embedding_response::Frame::Data(json())),
            call_id: call_id(),
        };
        let response = CreateResponseResponse {
            frame: Some(create_response_response::Frame::Data(json())),
            call_id: call_id(),
            stream: true,
            event: "response.created".to_owned(),
        };
        let messages = [
            (chat.encode_to_vec(), true, ""),
            (completion.encode_to_vec(), true, ""),
            (embedding.encode_to_vec(), false, ""),
            (response.encode_to_vec(), true, "response.created"),
        ];
        for (message, stream, event) in messages {
            let frame = decode(message.into()).unwrap();
            assert_eq!(frame.content, Content::Data(json()));
            assert_eq!((frame.call_id, frame.stream), (call_id(), stream));
            assert_eq!(frame.event, event);
        }
        let error = CreateEmbeddingResponse {
            frame: Some(create_embedding_response::Frame::Error(json())),
            call_id: String::new(),
        };
        let error = decode(error.encode_to_vec().into()).unwrap();
        assert_eq!(error.content, Content::Error(json()));
    }

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
