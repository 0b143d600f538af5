use futures::{StreamExt, stream::BoxStream};
use tonic::{Request, Response, Status};
use uuid::Uuid;
use wanwu_proto::identity::v1::{
    GetGrantRequest, GetGrantResponse, WatchGrantsRequest, WatchGrantsResponse,
    grant_service_server::GrantService,
};

use super::{Handlers, id};
use crate::{error::Error, store::grants};

#[tonic::async_trait]
impl GrantService for Handlers {
    type WatchGrantsStream = BoxStream<'static, Result<WatchGrantsResponse, Status>>;

    async fn get_grant(
        &self,
        request: Request<GetGrantRequest>,
    ) -> Result<Response<GetGrantResponse>, Status> {
        let credential_id: Uuid = id("credential_id", &request.get_ref().credential_id)?;
        let mut connection = self.0.pool.acquire().await.map_err(Error::from)?;
        let grant = grants::find(&mut connection, credential_id)
            .await
            .map_err(Error::from)?;
        let grant = Some(grant.ok_or(Error::NotFound)?);
        Ok(Response::new(GetGrantResponse { grant }))
    }

    async fn watch_grants(
        &self,
        _: Request<WatchGrantsRequest>,
    ) -> Result<Response<Self::WatchGrantsStream>, Status> {
        let items = self.0.grants_feed.subscribe();
        let items = items.map(|item| item.map(|grant| WatchGrantsResponse { grant }));
        Ok(Response::new(items.boxed()))
    }
}
