//! Bodies of clients: read whole within limits, or passed on within limits.

use std::{
    collections::VecDeque,
    future::poll_fn,
    pin::Pin,
    sync::{Arc, OnceLock},
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

use crate::pace::Pace;

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

/// Reads a body of at most `limit` bytes, which has to come at this pace.
pub async fn read(body: &mut Incoming, limit: usize, mut pace: Pace) -> Result<Whole, Reason> {
    if body.size_hint().lower() > limit as u64 {
        return Err(Reason::TooLarge);
    }
    let mut whole = Whole {
        pieces: Vec::with_capacity(1),
        length: 0,
    };
    while let Some(data) = poll_fn(|task| poll_data(body, Some(&mut pace), task)).await {
        let data = data.map_err(|missing| match missing {
            // The client went away: nobody will see the answer.
            Missing::Lost => Reason::InvalidArgument,
            Missing::TooSlow => Reason::RequestTooSlow,
        })?;
        whole.length += data.len();
        if whole.length > limit {
            return Err(Reason::TooLarge);
        }
        if !data.is_empty() {
            whole.pieces.push(data);
        }
    }
    Ok(whole)
}

/// Why the next data of a body does not come.
#[derive(Clone, Copy, Debug)]
enum Missing {
    /// The connection or the stream broke.
    Lost,
    /// It was waited for too long.
    TooSlow,
}

/// The next data of a client; without a pace it is waited for without end. Trailers are passed
/// over.
fn poll_data(
    body: &mut Incoming,
    mut pace: Option<&mut Pace>,
    task: &mut Context<'_>,
) -> Poll<Option<Result<Bytes, Missing>>> {
    loop {
        let frame = match (Pin::new(&mut *body).poll_frame(task), &mut pace) {
            (Poll::Ready(None), _) => return Poll::Ready(None),
            (Poll::Ready(Some(Err(_))), _) => return Poll::Ready(Some(Err(Missing::Lost))),
            (Poll::Ready(Some(Ok(frame))), _) => frame,
            (Poll::Pending, Some(pace)) => {
                return pace.poll(task).map(|_| Some(Err(Missing::TooSlow)));
            }
            (Poll::Pending, None) => return Poll::Pending,
        };
        let Ok(data) = frame.into_data() else {
            continue;
        };
        if let Some(pace) = pace {
            pace.moved(data.len());
        }
        return Poll::Ready(Some(Ok(data)));
    }
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
    pace: Option<Pace>,
    cut: Cut,
    ahead: VecDeque<Result<Bytes, Status>>,
}

/// Why a body was cut, if it was.
#[derive(Clone, Default)]
pub struct Cut(Arc<OnceLock<Reason>>);

impl Passed {
    /// The body, at most `limit` bytes of it; `None`: a stream, whose length has no bound. While it
    /// is asked for, it has to come at this pace; `None`: the client may be silent.
    pub fn new(body: Incoming, limit: Option<usize>, pace: Option<Pace>) -> (Self, Cut) {
        let cut = Cut::default();
        let passed = Self {
            body,
            left: limit,
            pace,
            cut: cut.clone(),
            ahead: VecDeque::new(),
        };
        (passed, cut)
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
        let polled = poll_data(&mut self.body, self.pace.as_mut(), task);
        Poll::Ready(ready!(polled).map(|data| match data {
            Err(Missing::Lost) => Err(Status::cancelled("the rest of the request was lost")),
            Err(Missing::TooSlow) => Err(self.cut.because(Reason::RequestTooSlow)),
            Ok(data) => self.within_limit(data),
        }))
    }

    fn within_limit(&mut self, data: Bytes) -> Result<Bytes, Status> {
        if let Some(left) = &mut self.left {
            *left = left
                .checked_sub(data.len())
                .ok_or_else(|| self.cut.because(Reason::TooLarge))?;
        }
        Ok(data)
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
    /// Why it was; `None`: it was not.
    #[must_use]
    pub fn reason(&self) -> Option<Reason> {
        self.0.get().copied()
    }

    /// It is now.
    fn because(&self, reason: Reason) -> Status {
        // The first reason counts.
        let _ = self.0.set(reason);
        refusal(reason)
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
