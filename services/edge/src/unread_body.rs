//! Bodies of clients: read whole within limits, or passed on within limits.

use std::{
    collections::VecDeque,
    future::poll_fn,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use http::Version;
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tonic::Status;
use wanwu_access::{Reason, refusal};

/// What is read of a body that is refused, so that the client gets to see why: it reads the answer
/// only when it has written everything.
const MAX_DRAIN: usize = 32 << 20;
/// How long it is read.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

/// A whole body, in the pieces in which it came.
pub struct Whole {
    /// The pieces; none is empty.
    pub pieces: Vec<Bytes>,
    /// The bytes of all of them.
    pub length: usize,
}

impl Whole {
    /// The bytes in one piece.
    #[must_use]
    pub fn into_bytes(mut self) -> Bytes {
        match self.pieces.len() {
            0 => Bytes::new(),
            1 => self.pieces.swap_remove(0),
            _ => self.pieces.concat().into(),
        }
    }
}

/// Reads a body of at most `limit` bytes within `timeout`.
pub async fn read(body: &mut Incoming, limit: usize, timeout: Duration) -> Result<Whole, Reason> {
    if body.size_hint().lower() > limit as u64 {
        return Err(Reason::TooLarge);
    }
    let reading = async {
        let mut whole = Whole {
            pieces: Vec::with_capacity(1),
            length: 0,
        };
        while let Some(frame) = body.frame().await {
            // The client went away: nobody will see the answer.
            let frame = frame.map_err(|_| Reason::InvalidArgument)?;
            let Ok(data) = frame.into_data() else {
                continue;
            };
            whole.length += data.len();
            if whole.length > limit {
                return Err(Reason::TooLarge);
            }
            if !data.is_empty() {
                whole.pieces.push(data);
            }
        }
        Ok(whole)
    };
    tokio::time::timeout(timeout, reading)
        .await
        .unwrap_or(Err(Reason::RequestTooSlow))
}

/// Reads what is left of the body of a refused request and forgets it. Only HTTP/1.1 needs it:
/// there a connection with an unread body is cut, and with it the answer.
pub async fn drain(mut body: Incoming, version: Version) {
    if version > Version::HTTP_11 || body.is_end_stream() {
        return;
    }
    let reading = async {
        let mut read = 0;
        while let Some(Ok(frame)) = body.frame().await {
            read += frame.data_ref().map_or(0, Bytes::len);
            if read > MAX_DRAIN {
                return;
            }
        }
    };
    // What did not come in time is cut.
    let _ = tokio::time::timeout(DRAIN_TIMEOUT, reading).await;
}

/// A body that is passed on as it comes, cut where it becomes longer than the limit. Trailers of
/// requests are dropped: gRPC has none, and what they say must not be taken for headers.
pub struct Passed {
    body: Incoming,
    left: Option<usize>,
    too_large: Arc<AtomicBool>,
    ahead: VecDeque<Result<Bytes, Status>>,
}

/// Whether a body was cut.
#[derive(Clone)]
pub struct Cut(Arc<AtomicBool>);

impl Passed {
    /// The body, at most `limit` bytes of it; `None`: a stream, whose length has no bound.
    pub fn new(body: Incoming, limit: Option<usize>) -> (Self, Cut) {
        let too_large = Arc::new(AtomicBool::new(false));
        let cut = Cut(Arc::clone(&too_large));
        let left = limit;
        (
            Self {
                body,
                left,
                too_large,
                ahead: VecDeque::new(),
            },
            cut,
        )
    }

    /// Reads ahead until the beginning is long enough for `enough`, the body ends, or the time is
    /// over, and returns the beginning. What was read is passed on all the same.
    pub async fn read_ahead(&mut self, enough: impl Fn(&[u8]) -> bool, timeout: Duration) -> Bytes {
        let mut beginning = Bytes::new();
        let reading = async {
            while let Some(piece) = poll_fn(|task| self.poll_data(task)).await {
                match &piece {
                    // As many of these as a client likes would be kept.
                    Ok(data) if data.is_empty() => continue,
                    Ok(data) => beginning = joined(std::mem::take(&mut beginning), data),
                    Err(_) => {}
                }
                let failed = piece.is_err();
                self.ahead.push_back(piece);
                if failed || enough(&beginning) {
                    break;
                }
            }
        };
        // What did not come in time is passed on when it comes.
        let _ = tokio::time::timeout(timeout, reading).await;
        beginning
    }

    /// The next piece of the client.
    fn poll_data(&mut self, task: &mut Context<'_>) -> Poll<Option<Result<Bytes, Status>>> {
        loop {
            let frame = match ready!(Pin::new(&mut self.body).poll_frame(task)) {
                None => return Poll::Ready(None),
                Some(Err(_)) => {
                    let lost = Status::cancelled("the rest of the request was lost");
                    return Poll::Ready(Some(Err(lost)));
                }
                Some(Ok(frame)) => frame,
            };
            let Ok(data) = frame.into_data() else {
                continue;
            };
            if let Some(left) = &mut self.left {
                let Some(rest) = left.checked_sub(data.len()) else {
                    self.too_large.store(true, Ordering::Relaxed);
                    return Poll::Ready(Some(Err(refusal(Reason::TooLarge))));
                };
                *left = rest;
            }
            return Poll::Ready(Some(Ok(data)));
        }
    }
}

/// Copies only what comes in several pieces.
fn joined(beginning: Bytes, piece: &Bytes) -> Bytes {
    if beginning.is_empty() {
        return piece.clone();
    }
    let mut whole = BytesMut::from(beginning);
    whole.extend_from_slice(piece);
    whole.freeze()
}

impl Cut {
    /// It was.
    #[must_use]
    pub fn is_too_large(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl http_body::Body for Passed {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        task: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = self.get_mut();
        let piece = match this.ahead.pop_front() {
            Some(piece) => Some(piece),
            None => ready!(this.poll_data(task)),
        };
        Poll::Ready(piece.map(|piece| piece.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.ahead.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        if self.ahead.is_empty() {
            return self.body.size_hint();
        }
        // What was read ahead comes beside it; nobody needs to know how much.
        SizeHint::default()
    }
}
