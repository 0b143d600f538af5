//! The gRPC services: a request becomes a command, its result a reply.

mod call_service;
mod chat_service;
mod frames;
mod limit_service;
mod model_service;
mod route_service;

use std::sync::Arc;

use sqlx::PgPool;
use tonic::service::Routes;
use wanwu_proto::inference::v1::{
    call_service_server::CallServiceServer, chat_service_server::ChatServiceServer,
    completion_service_server::CompletionServiceServer,
    embedding_service_server::EmbeddingServiceServer, limit_service_server::LimitServiceServer,
    model_service_server::ModelServiceServer, response_service_server::ResponseServiceServer,
    route_service_server::RouteServiceServer,
};

use crate::{app::App, commands::chat::Chat, domain::request_body};

/// What a request has beside its body, in bytes at most.
const MESSAGE_ALLOWANCE: usize = 64 * 1024;

/// What the services work with.
#[derive(Clone)]
pub struct Handlers {
    chat: Arc<Chat>,
    pool: PgPool,
}

/// The services of this application.
#[must_use]
pub fn routes(app: &App) -> Routes {
    let handlers = Handlers {
        chat: app.chat.clone(),
        pool: app.pool.clone(),
    };
    let largest = request_body::MAX_BYTES + MESSAGE_ALLOWANCE;
    let chat = ChatServiceServer::new(handlers.clone()).max_decoding_message_size(largest);
    let completions =
        CompletionServiceServer::new(handlers.clone()).max_decoding_message_size(largest);
    let responses = ResponseServiceServer::new(handlers.clone()).max_decoding_message_size(largest);
    let embeddings =
        EmbeddingServiceServer::new(handlers.clone()).max_decoding_message_size(largest);
    Routes::new(chat)
        .add_service(completions)
        .add_service(responses)
        .add_service(embeddings)
        .add_service(ModelServiceServer::new(handlers.clone()))
        .add_service(CallServiceServer::new(handlers.clone()))
        .add_service(LimitServiceServer::new(handlers.clone()))
        .add_service(RouteServiceServer::new(handlers))
}
