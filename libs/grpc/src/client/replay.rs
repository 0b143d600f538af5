//! A request that can be sent again: what was sent of its body is kept until it is answered.
//!
//! A server that goes away, or has no room for one more stream, says which requests it never looked at
//! (RFC 9113, 6.8 and 8.7). Those may be sent again, whatever they ask for; no other may.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context as Task, Poll, ready},
};

use bytes::Bytes;
use http::{Request, request::Parts};
use http_body::{Body as _, Frame, SizeHint};
use parking_lot::Mutex;
use tonic::{Status, body::Body};

/// The longest body that is kept, in bytes; a longer one is sent once.
const LONGEST: usize = 256 << 10;

/// What is needed to send a request again.
pub(super) struct Replay {
    head: Parts,
    source: Arc<Mutex<Source>>,
}

/// The body that all copies of a request are sent from.
struct Source {
    /// What is to come of it.
    body: Body,
    /// It came to its end.
    ended: bool,
    /// What came of it, if it is kept.
    pieces: Vec<Bytes>,
    length: usize,
    is_kept: bool,
    /// The copy that is sent; those before it get nothing any more.
    newest: u32,
}

/// The body of one copy of a request.
struct Copy {
    source: Arc<Mutex<Source>>,
    number: u32,
    /// The piece that is its next one.
    next: usize,
}

impl Replay {
    /// The request to send, and what sends it again.
    pub(super) fn of(request: Request<Body>) -> (Request<Body>, Self) {
        let (head, body) = request.into_parts();
        let source = Arc::new(Mutex::new(Source {
            body,
            ended: false,
            pieces: Vec::new(),
            length: 0,
            is_kept: true,
            newest: 0,
        }));
        let replay = Self {
            head: head.clone(),
            source,
        };
        (Request::from_parts(head, replay.copy(0)), replay)
    }

    /// The same request once more, in place of the one before; none: its body is too long to be kept.
    pub(super) fn again(&self) -> Option<Request<Body>> {
        let number = {
            let mut source = self.source.lock();
            source.newest += u32::from(source.is_kept);
            source.is_kept.then_some(source.newest)?
        };
        Some(Request::from_parts(self.head.clone(), self.copy(number)))
    }

    fn copy(&self, number: u32) -> Body {
        Body::new(Copy {
            source: self.source.clone(),
            number,
            next: 0,
        })
    }
}

impl Drop for Replay {
    /// It is answered, or given up: what comes of a body from now on is not kept.
    fn drop(&mut self) {
        self.source.lock().is_kept = false;
    }
}

/// The server says that it never looked at the request.
pub(super) fn is_unprocessed(error: &hyper::Error) -> bool {
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<h2::Error>() {
            let refused = error.is_reset() && error.reason() == Some(h2::Reason::REFUSED_STREAM);
            // What it did look at before it went ends otherwise.
            let left = error.is_go_away() && error.reason() == Some(h2::Reason::NO_ERROR);
            return error.is_remote() && (refused || left);
        }
        cause = error.source();
    }
    false
}

impl Source {
    fn poll_next(&mut self, task: &mut Task<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let polled = ready!(Pin::new(&mut self.body).poll_frame(task));
        match &polled {
            Some(Ok(frame)) => self.keep(frame.data_ref()),
            Some(Err(_)) => self.forget(),
            None => self.ended = true,
        }
        Poll::Ready(polled)
    }

    fn keep(&mut self, piece: Option<&Bytes>) {
        if !self.is_kept {
            return;
        }
        // Trailers are no piece: a request of gRPC has none.
        match piece.filter(|piece| piece.len() <= LONGEST - self.length) {
            Some(piece) => {
                self.length += piece.len();
                self.pieces.push(piece.clone());
            }
            None => self.forget(),
        }
    }

    fn forget(&mut self) {
        self.is_kept = false;
        self.pieces.clear();
    }

    /// What a copy whose next piece is this one sends before what is to come.
    fn before(&self, next: usize) -> &[Bytes] {
        self.pieces.get(next..).unwrap_or_default()
    }
}

impl http_body::Body for Copy {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        task: &mut Task<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = self.get_mut();
        let mut source = this.source.lock();
        if source.newest != this.number {
            return Poll::Ready(Some(Err(Status::cancelled("the call is sent again"))));
        }
        if let Some(piece) = source.pieces.get(this.next) {
            this.next += 1;
            return Poll::Ready(Some(Ok(Frame::data(piece.clone()))));
        }
        let polled = ready!(source.poll_next(task));
        this.next = source.pieces.len();
        Poll::Ready(polled)
    }

    fn is_end_stream(&self) -> bool {
        let source = self.source.lock();
        source.before(self.next).is_empty() && (source.ended || source.body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        let source = self.source.lock();
        let before: usize = source.before(self.next).iter().map(Bytes::len).sum();
        let before = before as u64;
        if source.ended {
            return SizeHint::with_exact(before);
        }
        let to_come = source.body.size_hint();
        let mut hint = SizeHint::new();
        hint.set_lower(before + to_come.lower());
        if let Some(upper) = to_come.upper() {
            hint.set_upper(before + upper);
        }
        hint
    }
}

#[cfg(test)]
mod tests {
    use futures::stream;
    use http::HeaderMap;
    use http_body_util::{BodyExt, Full, StreamBody};

    use super::*;

    fn request(frames: Vec<Result<Frame<Bytes>, Status>>) -> Request<Body> {
        let body = Body::new(StreamBody::new(stream::iter(frames)));
        Request::post("/a.B/C")
            .header("x-own", "1")
            .body(body)
            .unwrap()
    }

    fn data(length: usize) -> Result<Frame<Bytes>, Status> {
        Ok(Frame::data(vec![b'x'; length].into()))
    }

    async fn whole(request: Request<Body>) -> Bytes {
        request.into_body().collect().await.unwrap().to_bytes()
    }

    #[tokio::test]
    async fn a_request_is_the_same_when_it_is_sent_again_and_again() {
        let (request, replay) = Replay::of(request(vec![data(3), data(LONGEST - 3)]));
        let first = whole(request).await;
        for _ in 0..2 {
            let again = replay.again().unwrap();
            assert_eq!(again.uri().path(), "/a.B/C");
            assert_eq!(again.headers()["x-own"], "1");
            assert_eq!(again.body().size_hint().exact(), Some(LONGEST as u64));
            assert_eq!(whole(again).await, first);
        }
    }

    #[tokio::test]
    async fn one_that_was_sent_in_part_is_sent_again_whole() {
        for sent in 0..3 {
            let (request, replay) = Replay::of(request(vec![data(1), data(2), data(3)]));
            let mut before = request.into_body();
            for _ in 0..sent {
                before.frame().await.unwrap().unwrap();
            }
            let again = replay.again().unwrap();
            before
                .frame()
                .await
                .unwrap()
                .expect_err("it takes nothing from its successor");
            assert_eq!(whole(again).await.len(), 6, "{sent}");
        }
    }

    #[tokio::test]
    async fn its_length_is_known_as_before() {
        let body = Body::new(Full::new(Bytes::from_static(b"four")));
        let (request, replay) = Replay::of(Request::new(body));
        assert_eq!(request.body().size_hint().exact(), Some(4));
        assert_eq!(whole(request).await, "four");
        let again = replay.again().unwrap();
        assert_eq!(again.body().size_hint().exact(), Some(4));
        assert!(!again.body().is_end_stream());

        let (request, replay) = Replay::of(Request::new(Body::empty()));
        assert!(request.body().is_end_stream());
        assert!(replay.again().unwrap().body().is_end_stream());
    }

    #[tokio::test]
    async fn what_is_not_kept_is_sent_once() {
        let trailers = Ok(Frame::trailers(HeaderMap::new()));
        let broken = Err(Status::cancelled("broken"));
        for (last, what) in [
            (data(LONGEST), "too long"),
            (trailers, "trailers"),
            (broken, "broken"),
        ] {
            let (request, replay) = Replay::of(request(vec![data(1), last]));
            let _ = request.into_body().collect().await;
            assert!(replay.again().is_none(), "{what}");
        }
    }

    #[tokio::test]
    async fn an_answer_does_not_cut_what_is_still_sent_and_ends_the_keeping() {
        let (first, replay) = Replay::of(request(vec![data(1), data(2), data(3)]));
        let mut first = first.into_body();
        first.frame().await.unwrap().unwrap();
        let again = replay.again().unwrap();
        let source = replay.source.clone();
        drop(replay);
        assert_eq!(whole(again).await.len(), 6);
        assert_eq!(source.lock().length, 1);
    }
}
