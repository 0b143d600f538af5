//! The services that models answer by, one a shape: the same way for all.

use futures::StreamExt;
use tonic::{Request, Response, Status};
use tracing::Instrument;
use wanwu_access::caller;
use wanwu_grpc::status;
use wanwu_proto::inference::v1::{
    CreateChatCompletionRequest, CreateChatCompletionResponse, CreateCompletionRequest,
    CreateCompletionResponse, CreateEmbeddingRequest, CreateEmbeddingResponse,
    CreateResponseRequest, CreateResponseResponse, chat_service_server::ChatService,
    completion_service_server::CompletionService, create_embedding_response::Frame as Embedding,
    embedding_service_server::EmbeddingService, response_service_server::ResponseService,
};

use super::{
    Handlers,
    frames::{Frames, tell},
};
use crate::{
    commands::{
        Item, Reply,
        chat::{Caller, CreateCall},
        gen_ai,
    },
    domain::shape::Shape,
    error::Error,
};

/// A request of any shape, as its contract has it.
macro_rules! begin {
    ($handlers:expr, $shape:expr, $request:expr) => {{
        let request = $request;
        let from = caller(&request)?;
        let caller = Caller {
            account_id: from.account_id()?,
            app_id: from.app_id()?,
            key_id: from.key_id()?,
        };
        let message = request.into_inner();
        let command = CreateCall {
            shape: $shape,
            caller,
            body: message.body,
            device_token: message.device_token,
            idempotency_key: message.idempotency_key,
        };
        $handlers.begin(command).await?
    }};
}

impl Handlers {
    async fn begin(&self, command: CreateCall) -> Result<Reply, Status> {
        let span = gen_ai::span(command.shape);
        let reply = self.chat.create(command).instrument(span).await;
        reply.map_err(|e| status(&e))
    }
}

#[tonic::async_trait]
impl ChatService for Handlers {
    type CreateChatCompletionStream = Frames<CreateChatCompletionResponse>;

    async fn create_chat_completion(
        &self,
        request: Request<CreateChatCompletionRequest>,
    ) -> Result<Response<Self::CreateChatCompletionStream>, Status> {
        Ok(Frames::response(begin!(self, Shape::Chat, request)))
    }
}

#[tonic::async_trait]
impl CompletionService for Handlers {
    type CreateCompletionStream = Frames<CreateCompletionResponse>;

    async fn create_completion(
        &self,
        request: Request<CreateCompletionRequest>,
    ) -> Result<Response<Self::CreateCompletionStream>, Status> {
        Ok(Frames::response(begin!(self, Shape::Completions, request)))
    }
}

#[tonic::async_trait]
impl ResponseService for Handlers {
    type CreateResponseStream = Frames<CreateResponseResponse>;

    async fn create_response(
        &self,
        request: Request<CreateResponseRequest>,
    ) -> Result<Response<Self::CreateResponseStream>, Status> {
        Ok(Frames::response(begin!(self, Shape::Responses, request)))
    }
}

#[tonic::async_trait]
impl EmbeddingService for Handlers {
    async fn create_embedding(
        &self,
        request: Request<CreateEmbeddingRequest>,
    ) -> Result<Response<CreateEmbeddingResponse>, Status> {
        let mut reply = begin!(self, Shape::Embeddings, request);
        // The call's task is gone: the process is ending.
        let item = reply.next().await;
        let item = item
            .unwrap_or(Err(Error::JournalUnavailable))
            .map_err(|error| status(&error))?;
        let frame = match item {
            Item::Data(frame) => Embedding::Data(frame.data),
            Item::Error(error) => Embedding::Error(error),
        };
        let mut response = Response::new(CreateEmbeddingResponse {
            frame: Some(frame),
            call_id: reply.call_id.to_string(),
        });
        tell(reply.notice, response.metadata_mut());
        Ok(response)
    }
}
