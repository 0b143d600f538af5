//! An answer as a gRPC stream: the label is in its first and last metadata too.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use futures::Stream;
use tonic::{
    Code, Response, Status,
    metadata::{Ascii, MetadataMap, MetadataValue},
};
use wanwu_proto::inference::v1::{
    CreateChatCompletionResponse, create_chat_completion_response::Frame as Kind,
};

use crate::commands::{Item, Reply};

/// The metadata key of the label, a JSON object.
pub const LABEL_KEY: &str = "wanwu-aigc";

/// From when it is better not to build on the model (RFC 9745).
pub const DEPRECATION_KEY: &str = "deprecation";
/// From when the model is refused (RFC 8594).
pub const SUNSET_KEY: &str = "sunset";
/// A date as HTTP writes it (RFC 9110).
const HTTP_DATE: &str = "%a, %d %b %Y %H:%M:%S GMT";

/// The frames of an answer.
pub struct Frames {
    reply: Reply,
    /// Not told yet.
    call_id: Option<String>,
    label: Option<MetadataValue<Ascii>>,
    done: bool,
}

impl Frames {
    /// The response that streams this answer.
    pub fn response(reply: Reply) -> Response<Self> {
        // A label is ASCII without control characters.
        let label: Option<MetadataValue<Ascii>> = reply.label.parse().ok();
        let call_id = Some(reply.call_id.to_string());
        let notice = reply.notice;
        let frames = Self {
            reply,
            call_id,
            label: label.clone(),
            done: false,
        };
        let mut response = Response::new(frames);
        let metadata = response.metadata_mut();
        if let Some(label) = label {
            metadata.insert(LABEL_KEY, label);
        }
        if let Some(from) = notice.deprecated_at
            && let Ok(value) = format!("@{}", from.timestamp()).parse()
        {
            metadata.insert(DEPRECATION_KEY, value);
        }
        if let Some(end) = notice.ends_at
            && let Ok(value) = end.format(HTTP_DATE).to_string().parse()
        {
            metadata.insert(SUNSET_KEY, value);
        }
        response
    }
}

impl Stream for Frames {
    type Item = Result<CreateChatCompletionResponse, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.done {
            return Poll::Ready(None);
        }
        let Some(item) = ready!(Pin::new(&mut self.reply).poll_next(cx)) else {
            self.done = true;
            return Poll::Ready(self.label.take().map(|label| Err(trailer(label))));
        };
        let frame = match item {
            Item::Data(frame) => Kind::Data(frame.data),
            Item::Error(error) => Kind::Error(error),
        };
        let mut response = CreateChatCompletionResponse {
            frame: Some(frame),
            ..Default::default()
        };
        if let Some(call_id) = self.call_id.take() {
            response.call_id = call_id;
            response.stream = self.reply.stream;
        }
        Poll::Ready(Some(Ok(response)))
    }
}

/// A good end with metadata: tonic writes trailers only from a status.
fn trailer(label: MetadataValue<Ascii>) -> Status {
    let mut metadata = MetadataMap::new();
    metadata.insert(LABEL_KEY, label);
    Status::with_metadata(Code::Ok, "", metadata)
}
