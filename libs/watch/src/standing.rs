use std::sync::Arc;

use futures::{FutureExt, StreamExt, future::BoxFuture};
use tokio_util::sync::CancellationToken;
use tonic::Status;
use wanwu_access::{StandingAnswer, StandingSource, StandingUnknown};
use wanwu_grpc::Channel;
use wanwu_ids::AccountId;
use wanwu_proto::identity::v1::{
    GetStandingRequest, Standing, WatchStandingsRequest,
    standing_service_client::StandingServiceClient,
};

use crate::{Holder, Source, Subscription};

/// Identity's standings, as a holder reaches them.
pub struct StandingWatch(StandingServiceClient<Channel>);

/// The standing of accounts, held here and watched from identity.
#[derive(Clone)]
pub struct WatchedStanding {
    holder: Holder<StandingWatch>,
}

/// How many accounts' standings are held.
const CAPACITY: usize = 200_000;

impl WatchedStanding {
    /// Watches identity through this channel, once it [`run`](Self::run)s.
    #[must_use]
    pub fn new(identity: Channel) -> Self {
        let source = StandingWatch(StandingServiceClient::new(identity));
        Self {
            holder: Holder::new(source, CAPACITY),
        }
    }

    /// Keeps the watch open until `stop`.
    #[must_use]
    pub fn run(self, stop: CancellationToken) -> BoxFuture<'static, ()> {
        // Boxed: it is compiled here and not in each service.
        self.holder.run(stop).boxed()
    }

    /// The standing of an account; `None`: there is no such account.
    pub async fn get(
        &self,
        account_id: AccountId,
    ) -> Result<Option<Arc<Standing>>, StandingUnknown> {
        let mut text = uuid::Uuid::encode_buffer();
        let key = account_id.uuid().hyphenated().encode_lower(&mut text);
        self.holder.get(key).await.map_err(|_| StandingUnknown)
    }

    /// The holder beneath.
    #[must_use]
    pub fn holder(&self) -> &Holder<StandingWatch> {
        &self.holder
    }
}

impl StandingSource for WatchedStanding {
    fn fresh(&self, account_id: AccountId) -> Option<Arc<Standing>> {
        let mut text = uuid::Uuid::encode_buffer();
        self.holder
            .fresh(account_id.uuid().hyphenated().encode_lower(&mut text))
    }

    fn ask(&self, account_id: AccountId) -> StandingAnswer<'_> {
        Box::pin(self.get(account_id))
    }
}

impl Source for StandingWatch {
    type Item = Standing;

    async fn ask(&self, key: &str) -> Result<Standing, Status> {
        let request = GetStandingRequest {
            account_id: key.to_owned(),
        };
        let answer = self.0.clone().get_standing(request).await?;
        answer
            .into_inner()
            .standing
            .ok_or_else(|| Status::internal("an answer without a standing"))
    }

    async fn watch(&self) -> Result<Subscription<Standing>, Status> {
        let stream = self
            .0
            .clone()
            .watch_standings(WatchStandingsRequest {})
            .await?
            .into_inner();
        Ok(stream.map(|item| item.map(|item| item.standing)).boxed())
    }
}
