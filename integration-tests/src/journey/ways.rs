use anyhow::{Context, bail};
use bytes::{Bytes, BytesMut};
use reqwest::{Client, Response};
use serde_json::Value;
use tokio::time::Instant;
use tonic::{
    Request, Streaming,
    transport::{Channel, Endpoint},
};
use wanwu_proto::inference::v1::{
    CreateChatCompletionRequest, CreateChatCompletionResponse,
    chat_service_client::ChatServiceClient, create_chat_completion_response::Frame,
};

use super::api::accepted;
use crate::load::{CALL_ID, Event, take_event};

const PATH: &str = "v1/chat/completions";

/// A way in which a call of a chat model comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// HTTP/1.1: who leaves closes the connection.
    Http1,
    /// HTTP/2: who leaves resets a stream of a connection that stays, as other calls may be on it.
    Http2,
    /// gRPC, as HTTP/2.
    Grpc,
}

/// The clients of each way.
#[derive(Clone, Debug)]
pub struct Ways {
    edge: String,
    /// HTTP/1.1.
    pub http1: Client,
    /// HTTP/2.
    pub http2: Client,
    /// gRPC.
    pub grpc: Channel,
}

/// An answer as it comes. Who drops it goes away.
#[derive(Debug)]
pub struct Listening {
    /// The call, where the answer names one.
    pub call_id: Option<String>,
    begun: Instant,
    unread: BytesMut,
    /// The first frame by gRPC: it names the call.
    first: Option<Bytes>,
    rest: Rest,
}

#[derive(Debug)]
enum Rest {
    Http(Box<Response>),
    Grpc(Box<Streaming<CreateChatCompletionResponse>>),
}

impl Way {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Http1, Self::Http2, Self::Grpc];

    /// For a reader.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Http1 => "HTTP/1.1",
            Self::Http2 => "HTTP/2",
            Self::Grpc => "gRPC",
        }
    }
}

impl Ways {
    /// Clients of the platform at a public address.
    ///
    /// # Errors
    /// When there is no way to it.
    pub async fn open(edge: &str) -> anyhow::Result<Self> {
        // reqwest is built without a provider; whoever comes first installs ours.
        rustls::crypto::aws_lc_rs::default_provider()
            .install_default()
            .ok();
        let client = || Client::builder().no_proxy();
        let edge = edge.trim_end_matches('/').to_owned();
        let grpc = Endpoint::from_shared(edge.clone())?.connect().await?;
        Ok(Self {
            edge,
            http1: client().http1_only().build()?,
            http2: client().http2_prior_knowledge().build()?,
            grpc,
        })
    }

    /// Calls a chat model with a key; answers when the head of the answer is there, by gRPC its first
    /// frame.
    ///
    /// # Errors
    /// When it is refused, or the connection breaks.
    pub async fn ask(&self, way: Way, key: &str, body: &Value) -> anyhow::Result<Listening> {
        match way {
            Way::Http1 => self.ask_by_http(&self.http1, key, body).await,
            Way::Http2 => self.ask_by_http(&self.http2, key, body).await,
            Way::Grpc => self.ask_by_grpc(key, body).await,
        }
    }

    async fn ask_by_http(
        &self,
        client: &Client,
        key: &str,
        body: &Value,
    ) -> anyhow::Result<Listening> {
        let url = format!("{}/{PATH}", self.edge);
        let request = client.post(url).bearer_auth(key).json(body);
        let begun = Instant::now();
        let response = accepted(PATH, request.send().await?).await?;
        let call_id = response.headers().get(CALL_ID);
        let call_id = call_id.and_then(|id| id.to_str().ok()).map(str::to_owned);
        Ok(Listening {
            call_id,
            begun,
            unread: BytesMut::new(),
            first: None,
            rest: Rest::Http(Box::new(response)),
        })
    }

    async fn ask_by_grpc(&self, key: &str, body: &Value) -> anyhow::Result<Listening> {
        let mut request = Request::new(CreateChatCompletionRequest {
            body: body.to_string().into(),
            ..Default::default()
        });
        let bearer = format!("Bearer {key}").parse()?;
        request.metadata_mut().insert("authorization", bearer);
        let begun = Instant::now();
        let mut chat = ChatServiceClient::new(self.grpc.clone());
        let answer = chat.create_chat_completion(request).await?;
        let mut rest = answer.into_inner();
        let frame = rest.message().await?.context("an answer without a frame")?;
        Ok(Listening {
            call_id: Some(frame.call_id.clone()).filter(|id| !id.is_empty()),
            begun,
            unread: BytesMut::new(),
            first: Some(data(frame)?),
            rest: Rest::Grpc(Box::new(rest)),
        })
    }
}

impl Listening {
    /// The next event of a stream, or the whole of another answer; none: it ended.
    ///
    /// # Errors
    /// When the connection breaks, or by gRPC the call.
    pub async fn next(&mut self) -> anyhow::Result<Option<Event>> {
        let data = match self.first.take() {
            Some(first) => Some(first),
            None => self.read().await?,
        };
        let at = self.begun.elapsed();
        Ok(data.map(|data| Event { data, at }))
    }

    async fn read(&mut self) -> anyhow::Result<Option<Bytes>> {
        let response = match &mut self.rest {
            Rest::Http(response) => response,
            Rest::Grpc(frames) => return frames.message().await?.map(data).transpose(),
        };
        loop {
            if let Some(event) = take_event(&mut self.unread) {
                return Ok(Some(event));
            }
            match response.chunk().await? {
                Some(piece) => self.unread.extend_from_slice(&piece),
                None if self.unread.is_empty() => return Ok(None),
                None => return Ok(Some(self.unread.split().freeze())),
            }
        }
    }
}

fn data(frame: CreateChatCompletionResponse) -> anyhow::Result<Bytes> {
    match frame.frame {
        Some(Frame::Data(data)) => Ok(data),
        Some(Frame::Error(error)) => bail!("{}", String::from_utf8_lossy(&error)),
        None => bail!("an empty frame"),
    }
}
