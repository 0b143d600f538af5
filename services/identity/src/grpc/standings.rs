use futures::{StreamExt, stream::BoxStream};
use tonic::{Request, Response, Status};
use wanwu_proto::identity::v1::{
    GetStandingRequest, GetStandingResponse, WatchStandingsRequest, WatchStandingsResponse,
    standing_service_server::StandingService,
};

use super::{Handlers, id};

#[tonic::async_trait]
impl StandingService for Handlers {
    type WatchStandingsStream = BoxStream<'static, Result<WatchStandingsResponse, Status>>;

    async fn get_standing(
        &self,
        request: Request<GetStandingRequest>,
    ) -> Result<Response<GetStandingResponse>, Status> {
        let account_id = id("account_id", &request.get_ref().account_id)?;
        let standing = self.0.standing(account_id).await?;
        Ok(Response::new(GetStandingResponse {
            standing: Some(standing),
        }))
    }

    async fn watch_standings(
        &self,
        _: Request<WatchStandingsRequest>,
    ) -> Result<Response<Self::WatchStandingsStream>, Status> {
        let items = self.0.standings_feed.subscribe();
        let items = items.map(|item| item.map(|standing| WatchStandingsResponse { standing }));
        Ok(Response::new(items.boxed()))
    }
}
