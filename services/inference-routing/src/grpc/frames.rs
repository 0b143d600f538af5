//! An answer as a gRPC stream: the label is in its first and last metadata too.

use std::{
    marker::PhantomData,
    pin::Pin,
    task::{Context, Poll, ready},
};

use futures::Stream;
use tonic::{
    Code, Response, Status,
    metadata::{Ascii, MetadataMap, MetadataValue},
};
use wanwu_grpc::status;
use wanwu_proto::inference::v1::{
    CreateChatCompletionResponse, CreateCompletionResponse, CreateResponseResponse,
    create_chat_completion_response, create_completion_response, create_response_response,
};

use crate::{
    commands::{Item, Reply},
    domain::route::Notice,
};

/// The metadata key of the label, a JSON object.
pub const LABEL_KEY: &str = "wanwu-aigc";

/// The metadata key of the call's id (UUID text), in the head of a stream that begins without its first
/// frame.
pub const CALL_KEY: &str = "wanwu-call-id";

/// From when it is better not to build on the model (RFC 9745).
pub const DEPRECATION_KEY: &str = "deprecation";
/// From when the model is refused (RFC 8594).
pub const SUNSET_KEY: &str = "sunset";
/// A date as HTTP writes it (RFC 9110).
const HTTP_DATE: &str = "%a, %d %b %Y %H:%M:%S GMT";

/// A frame as the contract of its shape has it.
pub trait Message: Default + Unpin {
    /// The message of an item.
    fn of(item: Item) -> Self;
    /// Puts in what only the first frame has.
    fn begin(&mut self, call_id: String, stream: bool);
}

/// The frames of an answer.
pub struct Frames<M> {
    reply: Reply,
    /// Not told yet.
    call_id: Option<String>,
    label: Option<MetadataValue<Ascii>>,
    done: bool,
    message: PhantomData<fn() -> M>,
}

impl<M> Frames<M> {
    /// The response that streams this answer.
    pub fn response(reply: Reply) -> Response<Self> {
        // A label is ASCII without control characters.
        let label: Option<MetadataValue<Ascii>> = reply.label.parse().ok();
        let call_id = Some(reply.call_id.to_string());
        let begins_silent = !reply.has_begun();
        let notice = reply.notice;
        let frames = Self {
            reply,
            call_id,
            label: label.clone(),
            done: false,
            message: PhantomData,
        };
        let mut response = Response::new(frames);
        let call_id = response.get_ref().call_id.as_ref();
        let silent_call = call_id
            .filter(|_| begins_silent)
            .and_then(|id| id.parse().ok());
        let metadata = response.metadata_mut();
        if let Some(call_id) = silent_call {
            metadata.insert(CALL_KEY, call_id);
        }
        if let Some(label) = label {
            metadata.insert(LABEL_KEY, label);
        }
        tell(notice, metadata);
        response
    }
}

/// Tells of the end of a model.
pub fn tell(notice: Notice, metadata: &mut MetadataMap) {
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
}

impl<M: Message> Stream for Frames<M> {
    type Item = Result<M, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.done {
            return Poll::Ready(None);
        }
        let Some(item) = ready!(Pin::new(&mut self.reply).poll_next(cx)) else {
            self.done = true;
            return Poll::Ready(self.label.take().map(|label| Err(trailer(label))));
        };
        let item = match item {
            Ok(item) => item,
            Err(refused) => {
                self.done = true;
                return Poll::Ready(Some(Err(status(&refused))));
            }
        };
        let mut message = M::of(item);
        if let Some(call_id) = self.call_id.take() {
            message.begin(call_id, self.reply.stream);
        }
        Poll::Ready(Some(Ok(message)))
    }
}

/// The messages of most shapes are alike.
macro_rules! message {
    ($message:ty, $frame:path) => {
        impl Message for $message {
            fn of(item: Item) -> Self {
                use $frame as Kind;
                let frame = match item {
                    Item::Data(frame) => Kind::Data(frame.data),
                    Item::Error(error) => Kind::Error(error),
                };
                Self {
                    frame: Some(frame),
                    ..Default::default()
                }
            }

            fn begin(&mut self, call_id: String, stream: bool) {
                self.call_id = call_id;
                self.stream = stream;
            }
        }
    };
}

message!(
    CreateChatCompletionResponse,
    create_chat_completion_response::Frame
);
message!(CreateCompletionResponse, create_completion_response::Frame);

impl Message for CreateResponseResponse {
    fn of(item: Item) -> Self {
        use create_response_response::Frame as Kind;
        let (frame, event) = match item {
            Item::Data(frame) => (Kind::Data(frame.data), frame.event.unwrap_or_default()),
            Item::Error(error) => (Kind::Error(error), "error".into()),
        };
        Self {
            frame: Some(frame),
            event: event.into_string(),
            ..Default::default()
        }
    }

    fn begin(&mut self, call_id: String, stream: bool) {
        self.call_id = call_id;
        self.stream = stream;
    }
}

/// A good end with metadata: tonic writes trailers only from a status.
fn trailer(label: MetadataValue<Ascii>) -> Status {
    let mut metadata = MetadataMap::new();
    metadata.insert(LABEL_KEY, label);
    Status::with_metadata(Code::Ok, "", metadata)
}
