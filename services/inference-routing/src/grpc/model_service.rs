use std::sync::Arc;

use tonic::{Request, Response, Status};
use wanwu_access::caller;
use wanwu_proto::inference::v1::{
    ListModelsRequest, ListModelsResponse, Model, model_service_server::ModelService,
};

use super::Handlers;
use crate::{catalogue, domain::route::Notice, store::usage_events::timestamp};

#[tonic::async_trait]
impl ModelService for Handlers {
    async fn list_models(
        &self,
        request: Request<ListModelsRequest>,
    ) -> Result<Response<ListModelsResponse>, Status> {
        let account = caller(&request)?.account_id()?;
        let chat = &self.chat;
        let names = chat
            .routes
            .names(&chat.catalogue, account, chat.clock.now());
        let models = names.into_iter().map(shown).collect();
        Ok(Response::new(ListModelsResponse { models }))
    }
}

fn shown((name, model, notice): (String, Arc<catalogue::Model>, Notice)) -> Model {
    let config = &model.config;
    Model {
        name,
        capability: config.capability.clone(),
        create_time: Some(timestamp(config.created_at)),
        context_tokens: i32::try_from(config.context_tokens).unwrap_or(i32::MAX),
        deprecation_time: notice.deprecated_at.map(timestamp),
        end_time: notice.ends_at.map(timestamp),
        shapes: config
            .shapes()
            .iter()
            .map(|s| s.name().to_owned())
            .collect(),
    }
}
