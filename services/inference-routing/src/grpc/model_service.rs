use tonic::{Request, Response, Status};
use wanwu_proto::inference::v1::{
    ListModelsRequest, ListModelsResponse, Model, model_service_server::ModelService,
};

use super::Handlers;
use crate::{catalogue, store::usage_events::timestamp};

#[tonic::async_trait]
impl ModelService for Handlers {
    async fn list_models(
        &self,
        _request: Request<ListModelsRequest>,
    ) -> Result<Response<ListModelsResponse>, Status> {
        let models = self
            .chat
            .catalogue
            .models()
            .map(|model| shown(model))
            .collect();
        Ok(Response::new(ListModelsResponse { models }))
    }
}

fn shown(model: &catalogue::Model) -> Model {
    let config = &model.config;
    Model {
        name: config.name.clone(),
        capability: config.capability.clone(),
        create_time: Some(timestamp(config.created_at)),
        context_tokens: i32::try_from(config.context_tokens).unwrap_or(i32::MAX),
    }
}
