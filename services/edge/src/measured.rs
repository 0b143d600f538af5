//! The body of every answer, watched until its end: only there it is known how a request went.

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

use crate::{request_span, visit::Kind};

/// A body that counts its request when it ends.
pub struct Measured {
    body: Body,
    under_way: Option<UnderWay>,
}

struct UnderWay {
    kind: Kind,
    route: Box<str>,
    status: StatusCode,
    grpc: Option<i32>,
    begun: Instant,
    span: Span,
    _place: Option<OwnedSemaphorePermit>,
}

impl Measured {
    /// The answer to a request that began at `begun`; it holds its place until its end.
    pub fn around(
        response: Response<Body>,
        kind: Kind,
        route: Box<str>,
        begun: Instant,
        span: Span,
        place: Option<OwnedSemaphorePermit>,
    ) -> Response<Self> {
        gauge!("edge_in_flight").increment(1.0);
        let (parts, body) = response.into_parts();
        let under_way = UnderWay {
            kind,
            route,
            status: parts.status,
            grpc: grpc_status(&parts.headers),
            begun,
            span,
            _place: place,
        };
        let mut measured = Self {
            body,
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

    fn end(&mut self, broken: Option<&'static str>) {
        if let Some(under_way) = self.under_way.take() {
            under_way.end(broken);
        }
    }
}

impl UnderWay {
    fn end(self, broken: Option<&'static str>) {
        gauge!("edge_in_flight").decrement(1.0);
        let status = match (broken, self.grpc) {
            (Some(broken), _) => broken.to_owned(),
            (None, Some(code)) => format!("grpc_{code}"),
            (None, None) => self.status.as_str().to_owned(),
        };
        let kind = self.kind.name();
        let elapsed = self.begun.elapsed();
        tracing::debug!(
            parent: &self.span,
            kind,
            route = &*self.route,
            status,
            ms = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX),
            "a request ended"
        );
        request_span::end(&self.span, self.status, self.grpc);
        counter!("edge_requests_total", "kind" => kind, "status" => status).increment(1);
        histogram!("edge_request_seconds", "kind" => kind).record(elapsed.as_secs_f64());
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
        let frame = ready!(Pin::new(&mut this.body).poll_frame(task));
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
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Measured {
    fn drop(&mut self) {
        // Nobody wanted the rest.
        self.end(Some("client_gone"));
    }
}
