//! A request under way and the body of its answer, watched until the end: only there it is known
//! how it went.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Instant,
};

use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode};
use http_body::{Body as _, Frame, SizeHint};
use metrics::{counter, gauge, histogram};
use tokio::sync::OwnedSemaphorePermit;
use tonic::{Status, body::Body};
use tracing::Span;

use crate::{
    request_span,
    streams::{self, PIECE},
    visit::Kind,
};

/// A request under way; it counts itself when it is dropped.
pub struct UnderWay {
    kind: Kind,
    route: Box<str>,
    begun: Instant,
    span: Span,
    status: Option<StatusCode>,
    grpc: Option<i32>,
    /// How it ended, where its status does not say it.
    broken: Option<&'static str>,
    _place: Option<OwnedSemaphorePermit>,
}

/// The body of an answer.
pub struct Measured {
    body: Body,
    /// What is left of a long piece.
    rest: Option<Bytes>,
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
        gauge!("edge_in_flight").increment(1.0);
        Self {
            kind,
            route,
            begun,
            span,
            status: None,
            grpc: None,
            broken: Some("client_gone"),
            _place: place,
        }
    }

    fn status(&self) -> String {
        match (self.broken, self.grpc, self.status) {
            (Some(broken), ..) => broken.to_owned(),
            (None, Some(code), _) => format!("grpc_{code}"),
            (None, None, Some(status)) => status.as_str().to_owned(),
            (None, None, None) => String::new(),
        }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        gauge!("edge_in_flight").decrement(1.0);
        let (kind, status) = (self.kind.name(), self.status());
        let elapsed = self.begun.elapsed();
        tracing::debug!(
            parent: &self.span,
            kind,
            route = &*self.route,
            status,
            micros = u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX),
            "a request ended"
        );
        request_span::end(&self.span, self.status, self.grpc);
        counter!("edge_requests_total", "kind" => kind, "status" => status).increment(1);
        histogram!("edge_request_seconds", "kind" => kind).record(elapsed.as_secs_f64());
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
            rest: None,
            under_way: Some(under_way),
        };
        measured.end_if_over();
        Response::from_parts(parts, measured)
    }

    fn end_if_over(&mut self) {
        if self.rest.is_none() && self.body.is_end_stream() {
            self.end(None);
        }
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
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        task: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = self.get_mut();
        let in_stream = streams::asked();
        let mut frame = match this.rest.take() {
            Some(rest) => Some(Ok(Frame::data(rest))),
            None => ready!(Pin::new(&mut this.body).poll_frame(task)),
        };
        if in_stream
            && let Some(Ok(frame)) = &mut frame
            && let Some(data) = frame.data_mut()
        {
            if data.len() > PIECE {
                this.rest = Some(data.split_off(PIECE));
            }
            streams::gave(data.len());
        }
        match &frame {
            Some(Ok(frame)) => {
                if let Some(trailers) = frame.trailers_ref()
                    && let Some(under_way) = &mut this.under_way
                {
                    under_way.grpc = grpc_status(trailers).or(under_way.grpc);
                    this.end(None);
                } else {
                    this.end_if_over();
                }
            }
            Some(Err(_)) => this.end(Some("broken")),
            None => this.end(None),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        if self.rest.is_none() {
            return self.body.size_hint();
        }
        // HTTP asks before it takes the first piece.
        SizeHint::default()
    }
}
