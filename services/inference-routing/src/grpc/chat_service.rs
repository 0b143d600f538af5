use tonic::{Request, Response, Status};
use tracing::Instrument;
use wanwu_access::caller;
use wanwu_grpc::status;
use wanwu_proto::inference::v1::{CreateChatCompletionRequest, chat_service_server::ChatService};

use super::{Handlers, frames::Frames};
use crate::commands::{
    chat::{Caller, CreateChatCompletion},
    gen_ai,
};

#[tonic::async_trait]
impl ChatService for Handlers {
    type CreateChatCompletionStream = Frames;

    async fn create_chat_completion(
        &self,
        request: Request<CreateChatCompletionRequest>,
    ) -> Result<Response<Frames>, Status> {
        let from = caller(&request)?;
        let caller = Caller {
            account_id: from.account_id()?,
            app_id: from.app_id()?,
            key_id: from.key_id()?,
        };
        let message = request.into_inner();
        let command = CreateChatCompletion {
            caller,
            body: message.body,
            device_token: message.device_token,
            idempotency_key: message.idempotency_key,
        };
        let reply = self
            .chat
            .create(command)
            .instrument(gen_ai::span())
            .await
            .map_err(|e| status(&e))?;
        Ok(Frames::response(reply))
    }
}
