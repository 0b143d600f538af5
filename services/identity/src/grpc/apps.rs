use tonic::{Request, Response, Status};
use wanwu_access::caller;
use wanwu_proto::identity::v1::{
    self as pb, CreateAppRequest, CreateAppResponse, GetAppOwnerRequest, GetAppOwnerResponse,
    GetAppRequest, GetAppResponse, ListAppsRequest, ListAppsResponse,
    app_service_server::AppService,
};

use super::{Handlers, id, page, timestamp};
use crate::{commands::CreateApp, domain::app_name, error::Error, store::apps};

impl From<apps::App> for pb::App {
    fn from(app: apps::App) -> Self {
        Self {
            app_id: app.app_id.to_string(),
            name: app.name,
            create_time: Some(timestamp(app.created_at)),
        }
    }
}

#[tonic::async_trait]
impl AppService for Handlers {
    async fn create_app(
        &self,
        request: Request<CreateAppRequest>,
    ) -> Result<Response<CreateAppResponse>, Status> {
        let account_id = caller(&request)?.account_id()?;
        let request = request.into_inner();
        let body = self.0.body_key.mac(&request);
        let name = app_name::parse(&request.name);
        let name = name.map_err(|why| Error::invalid("name", why.what()))?;
        let name = name.to_owned();
        let request_id = id("request_id", &request.request_id)?;
        let app = self
            .0
            .create_app(CreateApp {
                account_id,
                request_id,
                body,
                name,
            })
            .await?;
        Ok(Response::new(CreateAppResponse {
            app: Some(app.into()),
        }))
    }

    async fn get_app(
        &self,
        request: Request<GetAppRequest>,
    ) -> Result<Response<GetAppResponse>, Status> {
        let account_id = caller(&request)?.account_id()?;
        let app = self
            .0
            .app(account_id, id("app_id", &request.get_ref().app_id)?)
            .await?;
        Ok(Response::new(GetAppResponse {
            app: Some(app.into()),
        }))
    }

    async fn list_apps(
        &self,
        request: Request<ListAppsRequest>,
    ) -> Result<Response<ListAppsResponse>, Status> {
        let account_id = caller(&request)?.account_id()?;
        let request = request.into_inner();
        let page = page(request.page_size, &request.page_token)?;
        let page = self.0.apps(account_id, &page).await?;
        Ok(Response::new(ListAppsResponse {
            apps: page.items.into_iter().map(Into::into).collect(),
            next_page_token: page.next_page_token,
        }))
    }

    async fn get_app_owner(
        &self,
        request: Request<GetAppOwnerRequest>,
    ) -> Result<Response<GetAppOwnerResponse>, Status> {
        let owner = self
            .0
            .app_owner(id("app_id", &request.get_ref().app_id)?)
            .await?;
        Ok(Response::new(GetAppOwnerResponse {
            account_id: owner.to_string(),
        }))
    }
}
