use tonic::{Request, Response, Status};
use wanwu_access::caller;
use wanwu_proto::identity::v1::{
    self as pb, CreateApiKeyRequest, CreateApiKeyResponse, ListApiKeysRequest, ListApiKeysResponse,
    RevokeApiKeyRequest, RevokeApiKeyResponse, api_key_service_server::ApiKeyService,
};

use super::{Handlers, id, instant, page, timestamp};
use crate::{commands::CreateApiKey, store::apps};

impl From<apps::ApiKey> for pb::ApiKey {
    fn from(key: apps::ApiKey) -> Self {
        Self {
            key_id: key.key_id.to_string(),
            app_id: key.app_id.to_string(),
            scopes: key.scopes,
            expire_time: key.expires_at.map(timestamp),
            revoke_time: key.revoked_at.map(timestamp),
            create_time: Some(timestamp(key.created_at)),
        }
    }
}

#[tonic::async_trait]
impl ApiKeyService for Handlers {
    async fn create_api_key(
        &self,
        request: Request<CreateApiKeyRequest>,
    ) -> Result<Response<CreateApiKeyResponse>, Status> {
        let account_id = caller(&request)?.account_id()?;
        let request = request.into_inner();
        let command = CreateApiKey {
            account_id,
            request_id: id("request_id", &request.request_id)?,
            body: self.0.body_key.mac(&request),
            app_id: id("app_id", &request.app_id)?,
            scopes: request.scopes,
            expires_at: request
                .expire_time
                .map(|at| instant("expire_time", at))
                .transpose()?,
        };
        let created = self.0.create_api_key(command).await?;
        Ok(Response::new(CreateApiKeyResponse {
            api_key: Some(created.key.into()),
            secret: created.secret,
        }))
    }

    async fn list_api_keys(
        &self,
        request: Request<ListApiKeysRequest>,
    ) -> Result<Response<ListApiKeysResponse>, Status> {
        let account_id = caller(&request)?.account_id()?;
        let request = request.into_inner();
        let page = page(request.page_size, &request.page_token)?;
        let app_id = id("app_id", &request.app_id)?;
        let page = self.0.api_keys(account_id, app_id, &page).await?;
        Ok(Response::new(ListApiKeysResponse {
            api_keys: page.items.into_iter().map(Into::into).collect(),
            next_page_token: page.next_page_token,
        }))
    }

    async fn revoke_api_key(
        &self,
        request: Request<RevokeApiKeyRequest>,
    ) -> Result<Response<RevokeApiKeyResponse>, Status> {
        let account_id = caller(&request)?.account_id()?;
        let key_id = id("key_id", &request.get_ref().key_id)?;
        let key = self.0.revoke_api_key(account_id, key_id).await?;
        Ok(Response::new(RevokeApiKeyResponse {
            api_key: Some(key.into()),
        }))
    }
}
