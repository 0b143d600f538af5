//! An inference-routing that does what the body of a chat request tells it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use parking_lot::Mutex;
use serde_json::Value;
use tonic::{Code, Request, Response, Status, service::Routes};
use tonic_types::{ErrorDetails, StatusExt};
use wanwu_access::{Caller, read_principal};
use wanwu_proto::inference::v1::{
    CreateChatCompletionRequest, CreateChatCompletionResponse, CreateCompletionRequest,
    CreateCompletionResponse, CreateEmbeddingRequest, CreateEmbeddingResponse,
    CreateResponseRequest, CreateResponseResponse, ListModelsRequest, ListModelsResponse, Model,
    chat_service_server::{ChatService, ChatServiceServer},
    completion_service_server::{CompletionService, CompletionServiceServer},
    create_chat_completion_response::Frame,
    create_completion_response, create_embedding_response, create_response_response,
    embedding_service_server::{EmbeddingService, EmbeddingServiceServer},
    model_service_server::{ModelService, ModelServiceServer},
    response_service_server::{ResponseService, ResponseServiceServer},
};

/// What it was asked, how many frames of chat it gave away, and how often a client went away.
#[derive(Clone, Default)]
pub struct Inference {
    /// Calls of models, of whichever shape.
    pub calls: Arc<AtomicUsize>,
    pub requests: Arc<Mutex<Vec<(Caller, CreateChatCompletionRequest)>>>,
    pub sent: Arc<AtomicU64>,
    pub gone: Arc<Mutex<u32>>,
}

impl Inference {
    pub fn routes(&self) -> Routes {
        let chat = ChatServiceServer::new(self.clone()).max_decoding_message_size(8 << 20);
        Routes::new(chat)
            .add_service(ModelServiceServer::new(self.clone()))
            .add_service(CompletionServiceServer::new(self.clone()))
            .add_service(ResponseServiceServer::new(self.clone()))
            .add_service(EmbeddingServiceServer::new(self.clone()))
    }
}

/// Says when a stream is dropped before its end.
struct Guard(Arc<Mutex<u32>>, bool);

impl Drop for Guard {
    fn drop(&mut self) {
        if !self.1 {
            *self.0.lock() += 1;
        }
    }
}

#[tonic::async_trait]
impl ChatService for Inference {
    type CreateChatCompletionStream =
        BoxStream<'static, Result<CreateChatCompletionResponse, Status>>;

    async fn create_chat_completion(
        &self,
        request: Request<CreateChatCompletionRequest>,
    ) -> Result<Response<Self::CreateChatCompletionStream>, Status> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        let principal = request.metadata().clone().into_headers();
        let caller = read_principal(principal["wanwu-principal-bin"].as_bytes()).unwrap();
        let request = request.into_inner();
        let script: Value = serde_json::from_slice(&request.body).unwrap_or_default();
        self.requests.lock().push((caller, request));
        if let Some(reason) = script["refuse"].as_str() {
            return Err(refusal(reason));
        }
        let guard = Guard(Arc::clone(&self.gone), false);
        if let Some(wait) = script["answer_after_ms"].as_u64() {
            // As a service does that has no first frame yet.
            tokio::time::sleep(Duration::from_millis(wait)).await;
        }
        let sent = Arc::clone(&self.sent);
        let mut response = Response::new(answer(script.clone(), guard, sent).boxed());
        if script["first_delay_ms"].is_u64() {
            let call_id = "call-1".parse().unwrap();
            response.metadata_mut().insert("wanwu-call-id", call_id);
        }
        if let Some(end) = script["sunset"].as_str() {
            let metadata = response.metadata_mut();
            metadata.insert("deprecation", "@1764000000".parse().unwrap());
            metadata.insert("sunset", end.parse().unwrap());
        }
        Ok(response)
    }
}

#[tonic::async_trait]
impl CompletionService for Inference {
    type CreateCompletionStream = BoxStream<'static, Result<CreateCompletionResponse, Status>>;

    async fn create_completion(
        &self,
        _request: Request<CreateCompletionRequest>,
    ) -> Result<Response<Self::CreateCompletionStream>, Status> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        let json = Bytes::from_static(b"{}");
        let frame = CreateCompletionResponse {
            frame: Some(create_completion_response::Frame::Data(json)),
            call_id: "call-1".to_owned(),
            stream: false,
        };
        let frames = futures::stream::iter([Ok::<_, Status>(frame)]);
        Ok(Response::new(frames.boxed()))
    }
}

#[tonic::async_trait]
impl ResponseService for Inference {
    type CreateResponseStream = BoxStream<'static, Result<CreateResponseResponse, Status>>;

    async fn create_response(
        &self,
        request: Request<CreateResponseRequest>,
    ) -> Result<Response<Self::CreateResponseStream>, Status> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        let script: Value = serde_json::from_slice(&request.into_inner().body).unwrap();
        let stream = script["stream"] == true;
        let frames = ["response.created", "response.completed"].map(|event| {
            Ok(CreateResponseResponse {
                frame: Some(create_response_response::Frame::Data(Bytes::from_static(
                    b"{}",
                ))),
                call_id: "call-1".to_owned(),
                stream,
                event: event.to_owned(),
            })
        });
        let failed = script["fail_at_end"].as_str().map(|r| Err(refusal(r)));
        let count = if stream { 2 } else { 1 };
        let pause = script["end_after_ms"].as_u64().unwrap_or_default();
        let end = futures::stream::once(async move {
            tokio::time::sleep(Duration::from_millis(pause)).await;
            failed
        });
        let frames = futures::stream::iter(frames.into_iter().take(count));
        let frames = frames.chain(end.filter_map(std::future::ready));
        Ok(Response::new(frames.boxed()))
    }
}

#[tonic::async_trait]
impl EmbeddingService for Inference {
    async fn create_embedding(
        &self,
        request: Request<CreateEmbeddingRequest>,
    ) -> Result<Response<CreateEmbeddingResponse>, Status> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        let body = request.into_inner().body;
        let script: Value = serde_json::from_slice(&body).unwrap();
        let frame = match script["error"].is_null() {
            true => create_embedding_response::Frame::Data(body),
            false => create_embedding_response::Frame::Error(body),
        };
        Ok(Response::new(CreateEmbeddingResponse {
            frame: Some(frame),
            call_id: "call-1".to_owned(),
        }))
    }
}

fn answer(
    script: Value,
    guard: Guard,
    sent: Arc<AtomicU64>,
) -> impl futures::Stream<Item = Result<CreateChatCompletionResponse, Status>> + Send {
    let delay = Duration::from_millis(script["delay_ms"].as_u64().unwrap_or_default());
    let streamed = script["stream"] == true;
    let count = if streamed {
        script["n"].as_u64().unwrap_or(3)
    } else {
        1
    };
    async_stream::stream! {
        let mut guard = guard;
        let first_delay = script["first_delay_ms"].as_u64().unwrap_or_default();
        tokio::time::sleep(Duration::from_millis(first_delay)).await;
        for number in 0..count {
            let first = number == 0;
            let json = match script["text"].as_str() {
                Some(text) => text.to_owned(),
                None => format!("{{\"number\":{number}}}"),
            };
            let broken = script["error_at"] == number;
            let json = Bytes::from(json);
            sent.fetch_add(1, Ordering::Relaxed);
            yield Ok(CreateChatCompletionResponse {
                frame: Some(if broken { Frame::Error(json) } else { Frame::Data(json) }),
                call_id: if first { "call-1".to_owned() } else { String::new() },
                stream: first && streamed,
            });
            if broken {
                break;
            }
            tokio::time::sleep(delay).await;
        }
        guard.1 = true;
        if let Some(reason) = script["fail_at_end"].as_str() {
            yield Err(refusal(reason));
        }
    }
}

fn refusal(reason: &str) -> Status {
    let code = match reason {
        "INSUFFICIENT_BALANCE" | "BUSY" => Code::ResourceExhausted,
        "MODEL_NOT_FOUND" => Code::NotFound,
        "DEVICE_LICENCE_REQUIRED" => Code::PermissionDenied,
        "ENGINE_UNAVAILABLE" => Code::Unavailable,
        "DUPLICATE_CALL" => Code::AlreadyExists,
        _ => Code::InvalidArgument,
    };
    let metadata = std::collections::HashMap::<String, String>::new();
    let mut details = ErrorDetails::with_error_info(reason, "inference.wanwu", metadata);
    if reason == "BUSY" {
        details.set_retry_info(Some(Duration::from_secs(3)));
    }
    if reason == "INVALID_BODY" {
        details.add_bad_request_violation("body.messages", "must be there");
    }
    Status::with_error_details(code, "messages must be there", details)
}

#[tonic::async_trait]
impl ModelService for Inference {
    async fn list_models(
        &self,
        _request: Request<ListModelsRequest>,
    ) -> Result<Response<ListModelsResponse>, Status> {
        let model = |name: &str| Model {
            name: name.to_owned(),
            capability: "chat".to_owned(),
            create_time: Some(prost_types::Timestamp {
                seconds: 1_790_000_000,
                nanos: 0,
            }),
            context_tokens: 4096,
            deprecation_time: None,
            end_time: None,
            shapes: vec!["chat".to_owned()],
        };
        Ok(Response::new(ListModelsResponse {
            models: vec![model("Qwen/Qwen3"), model("small")],
        }))
    }
}
