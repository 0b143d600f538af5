//! The services behind the edge, and calls of the edge's own making to them.

use std::{collections::HashMap, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, header::CONTENT_TYPE};
use http_body_util::Full;
use prost::Message;
use tonic::{Code, Status, body::Body};
use tonic_types::{ErrorDetails, StatusExt};
use tower::Service;
use wanwu_access::{PRINCIPAL_HEADER, Reason, refusal};
use wanwu_grpc::{Affinity, Channel};

use crate::{
    contracts::Target,
    messages::{Messages, PREFIX, put_prefix},
};

/// The header that names the service of a method that every service has.
const TARGET_SERVICE: &str = "target-service";
/// The header with the id of the request.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("wanwu-request-id");
/// The header with the principal.
pub const PRINCIPAL: HeaderName = HeaderName::from_static(PRINCIPAL_HEADER);
const GRPC: HeaderValue = HeaderValue::from_static("application/grpc");
const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

/// A channel to each service.
pub struct Upstream {
    channels: HashMap<Arc<str>, Channel>,
}

impl Upstream {
    /// These channels, by service.
    #[must_use]
    pub fn new(channels: HashMap<Arc<str>, Channel>) -> Self {
        Self { channels }
    }

    /// Who answers a request to `target`.
    pub fn find(&self, target: &Target, headers: &HeaderMap) -> Result<&Channel, Status> {
        let channel = match target {
            Target::Service(service) => self.channels.get(service),
            Target::ByHeader => {
                let named = headers
                    .get(TARGET_SERVICE)
                    .and_then(|name| name.to_str().ok());
                return named
                    .and_then(|name| self.channels.get(name))
                    .ok_or_else(no_target);
            }
        };
        channel.ok_or_else(|| refusal(Reason::Unavailable))
    }

    /// The channel to a service by its name.
    pub fn service(&self, name: &str) -> Result<&Channel, Status> {
        self.channels
            .get(name)
            .ok_or_else(|| refusal(Reason::Unavailable))
    }
}

/// Nobody knows which service is meant.
fn no_target() -> Status {
    let mut details = ErrorDetails::with_error_info(
        "INVALID_ARGUMENT",
        wanwu_grpc::DOMAIN,
        HashMap::<String, String>::new(),
    );
    details.add_bad_request_violation(TARGET_SERVICE, "must name a service of the platform");
    Status::with_error_details(
        Code::InvalidArgument,
        "the header target-service must name a service",
        details,
    )
}

/// A call of the edge's own making.
pub struct Call<'a> {
    /// Who answers.
    pub channel: &'a Channel,
    /// `/package.Service/Method`.
    pub path: &'a str,
    /// On whose behalf; `None`: the edge's own.
    pub principal: Option<HeaderValue>,
    /// The id of the request.
    pub request_id: &'a str,
    /// How long it may take.
    pub timeout: Duration,
    /// Which replica answers, if that makes a difference.
    pub affinity: Option<Affinity>,
}

impl Call<'_> {
    /// Sends framed messages; the answer comes when its headers do.
    pub async fn send(self, body: Body) -> Result<Response<Body>, Status> {
        let mut request = Request::post(self.path)
            .body(body)
            .map_err(|_| refusal(Reason::UnknownMethod))?;
        let headers = request.headers_mut();
        headers.insert(CONTENT_TYPE, GRPC);
        put_timeout(headers, self.timeout);
        put_request_id(headers, self.request_id);
        if let Some(principal) = self.principal {
            headers.insert(PRINCIPAL, principal);
        }
        if let Some(affinity) = self.affinity {
            request.extensions_mut().insert(affinity);
        }
        self.channel.clone().call(request).await
    }

    /// Sends one message and takes the one that answers it, at most `limit` bytes long.
    pub async fn unary(self, message: &impl Message, limit: usize) -> Result<Bytes, Status> {
        let mut frame = BytesMut::with_capacity(PREFIX + message.encoded_len());
        put_prefix(&mut frame, message.encoded_len());
        message.encode(&mut frame).expect("the buffer grows");
        let response = self.send(Body::new(Full::new(frame.freeze()))).await?;
        let (_, mut messages) = Messages::of(response, limit)?;
        let answer = messages
            .next()
            .await?
            .ok_or_else(|| refusal(Reason::Internal))?;
        // The status comes after the message.
        match messages.next().await? {
            None => Ok(answer),
            Some(_) => Err(refusal(Reason::Internal)),
        }
    }

    /// As [`unary`](Self::unary), with a message of a known type.
    pub async fn ask<A: Message + Default>(
        self,
        message: &impl Message,
        limit: usize,
    ) -> Result<A, Status> {
        let answer = self.unary(message, limit).await?;
        A::decode(answer).map_err(|error| {
            tracing::error!(%error, "an answer cannot be read");
            refusal(Reason::Internal)
        })
    }
}

/// Says how long a call may take.
pub fn put_timeout(headers: &mut HeaderMap, timeout: Duration) {
    // At most eight digits: a day of milliseconds.
    let millis = timeout.as_millis().min(86_400_000);
    let value = HeaderValue::try_from(format!("{millis}m"));
    headers.insert(
        GRPC_TIMEOUT,
        value.expect("digits and a letter are a header's value"),
    );
}

/// Says which request it is.
pub fn put_request_id(headers: &mut HeaderMap, request_id: &str) {
    let value = HeaderValue::from_str(request_id);
    headers.insert(REQUEST_ID, value.expect("a UUID is a header's value"));
}
