//! One request on its way through the edge.

use std::time::{Duration, Instant};

use http::request::Parts;
use hyper::body::Incoming;
use metrics::histogram;
use tonic::Status;
use wanwu_access::{Reason, refusal};

use crate::{
    admission::{Arrival, refused},
    chat::Shape,
    config::Limits,
    pace::Pace,
    series::{Series, kept},
    unread_body::{self, Whole},
};

/// A request and what is known of it.
pub struct Visit {
    /// What it wants to be answered as.
    pub kind: Kind,
    /// Its head.
    pub parts: Parts,
    /// Its body, until somebody takes it.
    pub body: Option<Incoming>,
    /// Where it comes from.
    pub arrival: Arrival,
    /// When it came.
    pub begun: Instant,
    /// How long its body was waited for.
    pub waited: Duration,
}

/// What a request is, by its path and content type alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// gRPC by path.
    Grpc,
    /// gRPC's own services: health and reflection.
    Open,
    /// The same methods as JSON.
    Json,
    /// A call of a model, such as `POST /v1/chat/completions`.
    Model(Shape),
    /// `GET /v1/models`.
    Models,
    /// A payment provider's callback.
    Callback,
    /// `GET /healthz`.
    Health,
    /// Nothing that is here, below `/v1/`.
    UnknownOpenAi,
    /// Nothing that is here.
    Unknown,
}

impl Kind {
    /// As metrics and logs show it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Grpc => "grpc",
            Self::Open => "open",
            Self::Json => "json",
            Self::Model(shape) => shape.name(),
            Self::Models => "models",
            Self::Callback => "callback",
            Self::Health => "health",
            Self::UnknownOpenAi | Self::Unknown => "unknown",
        }
    }

    /// Where metrics of such requests are kept; none: they are found each time.
    #[must_use]
    pub fn series(self) -> Option<&'static Series> {
        match self {
            Self::Model(shape) => Some(Series::of(shape)),
            _ => None,
        }
    }
}

impl Visit {
    /// Reads the whole body, once: at most `limit` bytes, as fast as `limits` demands.
    pub async fn read(&mut self, limit: usize, limits: &Limits) -> Result<Whole, Status> {
        let Some(body) = &mut self.body else {
            return Err(refusal(Reason::Internal));
        };
        let begun = Instant::now();
        let read = unread_body::read(body, limit, Pace::of_whole_body(limits)).await;
        self.waited += begun.elapsed();
        if matches!(read, Err(Reason::RequestTooSlow)) {
            // The rest would come as slowly: it is not waited for before the answer.
            self.body = None;
        }
        let whole = read.map_err(|reason| {
            refused(reason);
            refusal(reason)
        })?;
        self.body = None;
        Ok(whole)
    }

    /// The request goes to a service now: what the edge took until here is its own.
    pub fn forwarded(&self) {
        let own = self.begun.elapsed().saturating_sub(self.waited);
        let place = self.kind.series().map(|series| &series.added);
        let find = || histogram!("edge_added_seconds", "kind" => self.kind.name());
        kept(place, find).record(own.as_secs_f64());
    }
}
