use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tonic::{Code, Status};
use wanwu_proto::operations::v1::ErrorReason;

use crate::platform_status;

/// The body of a request, refused where it becomes longer than the limit. A stream is limited
/// message by message elsewhere: its length has no bound.
pub(super) struct BodyLimit {
    body: Incoming,
    left: usize,
}

impl BodyLimit {
    pub(super) fn new(body: Incoming, limit: usize) -> Self {
        Self { body, left: limit }
    }
}

impl Body for BodyLimit {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        task: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = self.get_mut();
        let frame = match Pin::new(&mut this.body).poll_frame(task) {
            Poll::Ready(Some(Ok(frame))) => frame,
            Poll::Ready(Some(Err(_))) => {
                let lost = Status::cancelled("the rest of the request was lost");
                return Poll::Ready(Some(Err(lost)));
            }
            Poll::Ready(None) => return Poll::Ready(None),
            Poll::Pending => return Poll::Pending,
        };
        let length = frame.data_ref().map_or(0, Bytes::len);
        let Some(left) = this.left.checked_sub(length) else {
            let (code, reason) = (Code::ResourceExhausted, ErrorReason::TooLarge);
            return Poll::Ready(Some(Err(platform_status(
                code,
                reason,
                "the body is too large",
            ))));
        };
        this.left = left;
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
