//! The two hops of the model path and none of its work: an HTTP port that passes a body on by gRPC over
//! mutual TLS, and a gRPC server that passes it to an engine by HTTP. By the libraries that edge and
//! inference-routing use, so that what those two cost more is what they do.

use std::{convert::Infallible, net::SocketAddr};

use bytes::Bytes;
use futures::{StreamExt, stream, stream::BoxStream};
use http::{Request, Response, header};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioIo},
};
use serde::Deserialize;
use tokio::net::{TcpListener, TcpStream};
use tonic::Status;
use tower::layer::util::Identity;
use wanwu_grpc::{Channel, GrpcConfig, PeerAddress, Routes, Server, Tls, TlsConfig};
use wanwu_proto::inference::v1::{
    CreateChatCompletionRequest, CreateChatCompletionResponse,
    chat_service_client::ChatServiceClient,
    chat_service_server::{ChatService, ChatServiceServer},
    create_chat_completion_response::Frame,
};

/// What one of the two is told.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    tls: TlsConfig,
    /// Where it passes to: `host:port`.
    next: String,
}

/// The first hop.
///
/// # Errors
/// When it cannot begin.
pub async fn edge(listen: SocketAddr, config: Config) -> anyhow::Result<()> {
    let tls = Tls::load(&config.tls)?;
    let next = PeerAddress::List(vec![config.next]);
    let client = ChatServiceClient::new(Channel::new("inference-routing", next, &tls));
    let listener = TcpListener::bind(listen).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(connection(stream, client.clone()));
    }
}

async fn connection(stream: TcpStream, client: ChatServiceClient<Channel>) {
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request| {
        let client = client.clone();
        async move { Ok::<_, Infallible>(pass(client, request).await.unwrap_or_else(failed)) }
    });
    let serving = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    let _ = serving.await;
}

async fn pass(
    mut client: ChatServiceClient<Channel>,
    request: Request<Incoming>,
) -> anyhow::Result<Response<Full<Bytes>>> {
    let body = request.into_body().collect().await?.to_bytes();
    let request = CreateChatCompletionRequest {
        body,
        ..Default::default()
    };
    let mut frames = client.create_chat_completion(request).await?.into_inner();
    let mut answer = Bytes::new();
    while let Some(response) = frames.message().await? {
        if let Some(Frame::Data(data)) = response.frame {
            answer = data;
        }
    }
    let response = Response::builder().header(header::CONTENT_TYPE, "application/json");
    Ok(response.body(Full::new(answer))?)
}

fn failed(error: anyhow::Error) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(error.to_string())));
    *response.status_mut() = http::StatusCode::BAD_GATEWAY;
    response
}

/// The second hop.
///
/// # Errors
/// When it cannot begin.
pub async fn router(listen: SocketAddr, config: Config) -> anyhow::Result<()> {
    let tls = Tls::load(&config.tls)?;
    let grpc = GrpcConfig {
        listen,
        ..GrpcConfig::default()
    };
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let passes = Router {
        http: Client::builder(TokioExecutor::new()).build(connector),
        engine: format!("http://{}/v1/chat/completions", config.next),
    };
    let routes = Routes::new(ChatServiceServer::new(passes));
    let server = Server::bind(&grpc, &tls).await?;
    let never = tokio_util::sync::CancellationToken::new;
    Ok(server
        .run(routes, Identity::new(), never(), never())
        .await?)
}

struct Router {
    http: Client<HttpConnector, Full<Bytes>>,
    engine: String,
}

#[tonic::async_trait]
impl ChatService for Router {
    type CreateChatCompletionStream =
        BoxStream<'static, Result<CreateChatCompletionResponse, Status>>;

    async fn create_chat_completion(
        &self,
        request: tonic::Request<CreateChatCompletionRequest>,
    ) -> Result<tonic::Response<Self::CreateChatCompletionStream>, Status> {
        let lost = |_| Status::unavailable("the engine did not answer");
        let request = Request::post(&self.engine)
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(request.into_inner().body))
            .map_err(|_| Status::internal("no request"))?;
        let response = self.http.request(request).await.map_err(lost)?;
        let whole = response.into_body().collect().await;
        let whole = whole.map_err(|_| Status::unavailable("the answer broke off"))?;
        let answer = CreateChatCompletionResponse {
            frame: Some(Frame::Data(whole.to_bytes())),
            ..Default::default()
        };
        Ok(tonic::Response::new(stream::iter([Ok(answer)]).boxed()))
    }
}
