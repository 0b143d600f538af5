//! A request under way and the body of its answer, watched until the end: only there it is known
//! how it went.

use std::{
    borrow::Cow,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Instant,
};

use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode};
use http_body::{Body as _, Frame, SizeHint};
use metrics::{counter, histogram};
use tokio::sync::OwnedSemaphorePermit;
use tonic::{Status, body::Body};
use tracing::Span;

use crate::{
    request_span,
    series::{IN_FLIGHT, kept},
    streams::{self, PIECE, Piece},
    visit::Kind,
};

/// A request under way; it counts itself when it is dropped.
pub struct UnderWay {
    kind: Kind,
    route: Box<str>,
    begun: Instant,
    span: Span,
    /// How it ended is of use in its span.
    pub(crate) is_recorded: bool,
    status: Option<StatusCode>,
    grpc: Option<i32>,
    /// How it ended, where its status does not say it.
    broken: Option<&'static str>,
    _place: Option<OwnedSemaphorePermit>,
}

/// The body of an answer.
pub struct Measured {
    body: Body,
    /// It goes to HTTP/2, piece by piece.
    in_stream: bool,
    /// What is left of a long piece.
    rest: Option<Bytes>,
    /// The body has ended, with these trailers.
    ended: bool,
    trailers: Option<HeaderMap>,
    under_way: Option<UnderWay>,
}

impl UnderWay {
    /// A request that came at `begun` and holds a place.
    pub fn begin(
        kind: Kind,
        route: Box<str>,
        begun: Instant,
        span: Span,
        place: Option<OwnedSemaphorePermit>,
    ) -> Self {
        IN_FLIGHT.increment(1.0);
        Self {
            kind,
            route,
            begun,
            span,
            is_recorded: true,
            status: None,
            grpc: None,
            broken: Some("client_gone"),
            _place: place,
        }
    }

    fn status(&self) -> Cow<'_, str> {
        match (self.broken, self.grpc, &self.status) {
            (Some(broken), ..) => broken.into(),
            (None, Some(code), _) => format!("grpc_{code}").into(),
            (None, None, Some(status)) => status.as_str().into(),
            (None, None, None) => "".into(),
        }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        IN_FLIGHT.decrement(1.0);
        let (kind, status) = (self.kind.name(), self.status());
        let elapsed = self.begun.elapsed();
        tracing::debug!(
            parent: &self.span,
            kind,
            route = &*self.route,
            status = &*status,
            micros = u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX),
            "a request ended"
        );
        if self.is_recorded {
            request_span::end(&self.span, self.status, self.grpc);
        }
        let series = self.kind.series();
        let good = series.filter(|_| status == "200");
        let requests = kept(good.map(|series| &series.good), || {
            let status = status.into_owned();
            counter!("edge_requests_total", "kind" => kind, "status" => status)
        });
        requests.increment(1);
        let find = || histogram!("edge_request_seconds", "kind" => kind);
        kept(series.map(|series| &series.seconds), find).record(elapsed.as_secs_f64());
    }
}

impl Measured {
    /// The answer to a request.
    pub fn around(response: Response<Body>, mut under_way: UnderWay) -> Response<Self> {
        let (parts, body) = response.into_parts();
        under_way.status = Some(parts.status);
        under_way.grpc = grpc_status(&parts.headers);
        let mut measured = Self {
            body,
            in_stream: false,
            rest: None,
            ended: false,
            trailers: None,
            under_way: Some(under_way),
        };
        measured.end_if_over();
        Response::from_parts(parts, measured)
    }

    fn end_if_over(&mut self) {
        if self.body.is_end_stream() {
            self.end(None);
        }
    }

    /// Gives data away, to HTTP/2 a piece of it.
    fn give(&mut self, mut data: Bytes) -> Piece {
        if !self.in_stream {
            self.end_if_over();
        } else if data.len() > PIECE {
            self.rest = Some(data.split_off(PIECE));
        }
        streams::give(data)
    }

    fn end(&mut self, broken: Option<&'static str>) {
        if let Some(mut under_way) = self.under_way.take() {
            under_way.broken = broken;
        }
    }
}

fn grpc_status(headers: &HeaderMap) -> Option<i32> {
    headers.get("grpc-status")?.to_str().ok()?.parse().ok()
}

impl http_body::Body for Measured {
    type Data = Piece;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        task: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Piece>, Status>>> {
        let this = self.get_mut();
        if !this.ended {
            this.in_stream = streams::asked();
            let frame = match this.rest.take() {
                Some(rest) => Some(Ok(Frame::data(rest))),
                None => ready!(Pin::new(&mut this.body).poll_frame(task)),
            };
            match frame.map(|frame| frame.map(Frame::into_data)) {
                Some(Ok(Ok(data))) => return Poll::Ready(Some(Ok(Frame::data(this.give(data))))),
                Some(Ok(Err(frame))) => this.trailers = frame.into_trailers().ok(),
                Some(Err(status)) => {
                    this.end(Some("broken"));
                    return Poll::Ready(Some(Err(status)));
                }
                None => {}
            }
            this.ended = true;
        }
        // With its end given away a stream cannot be reset any more.
        ready!(streams::poll_left(task));
        let trailers = this.trailers.take();
        if let Some(trailers) = &trailers
            && let Some(under_way) = &mut this.under_way
        {
            under_way.grpc = grpc_status(trailers).or(under_way.grpc);
        }
        this.end(None);
        Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers))))
    }

    fn is_end_stream(&self) -> bool {
        // In a stream the end comes after the last piece, not with it.
        !self.in_stream && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        // HTTP asks before it takes the first piece.
        self.body.size_hint()
    }
}
