//! Standings from one process to another, over real TLS, in real time.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use futures::StreamExt;
use parking_lot::Mutex;
use tokio::{task::JoinHandle, time::Instant};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};
use wanwu_access::{AccessLayer, StandingSource, StandingUnknown};
use wanwu_grpc::{Channel, GrpcConfig, PeerAddress, Routes, Server, testing::TestAuthority};
use wanwu_ids::{AccountId, Ids};
use wanwu_proto::identity::v1::{
    GetStandingRequest, GetStandingResponse, Standing, WatchStandingsRequest,
    WatchStandingsResponse,
    standing_service_server::{StandingService, StandingServiceServer},
};
use wanwu_watch::{Feed, Subscription, WatchedStanding};

#[derive(Clone)]
struct Identity {
    feed: Feed<Standing>,
    standing: Arc<Mutex<Standing>>,
}

#[tonic::async_trait]
impl StandingService for Identity {
    async fn get_standing(
        &self,
        _: Request<GetStandingRequest>,
    ) -> Result<Response<GetStandingResponse>, Status> {
        let standing = Some(self.standing.lock().clone());
        Ok(Response::new(GetStandingResponse { standing }))
    }

    type WatchStandingsStream =
        futures::stream::BoxStream<'static, Result<WatchStandingsResponse, Status>>;

    async fn watch_standings(
        &self,
        _: Request<WatchStandingsRequest>,
    ) -> Result<Response<Self::WatchStandingsStream>, Status> {
        let items: Subscription<Standing> = self.feed.subscribe();
        let items = items.map(|item| item.map(|standing| WatchStandingsResponse { standing }));
        Ok(Response::new(items.boxed()))
    }
}

impl Identity {
    fn new(account_id: AccountId, stop: &CancellationToken) -> Self {
        let standing = Standing {
            account_id: account_id.to_string(),
            version: 1,
            ..Standing::default()
        };
        let feed = Feed::composed(|| true, stop.clone());
        Self {
            feed,
            standing: Arc::new(Mutex::new(standing)),
        }
    }

    fn suspend(&self, version: u64) {
        let mut standing = self.standing.lock();
        standing.suspended = true;
        standing.version = version;
        self.feed.publish(standing.clone());
    }
}

async fn serve(
    identity: &Identity,
    authority: &TestAuthority,
    listen: SocketAddr,
    stop: &CancellationToken,
) -> (SocketAddr, JoinHandle<()>) {
    let config = GrpcConfig {
        listen,
        ..GrpcConfig::default()
    };
    let tls = authority.tls("identity").unwrap();
    let server = Server::bind(&config, &tls).await.unwrap();
    let address = server.local_addr();
    let routes = Routes::new(StandingServiceServer::new(identity.clone()));
    let run = server.run(
        routes,
        AccessLayer::of_contracts(None),
        stop.clone(),
        stop.clone(),
    );
    (address, tokio::spawn(async move { run.await.unwrap() }))
}

async fn until(what: impl Fn() -> bool) -> Duration {
    let begun = Instant::now();
    while !what() {
        assert!(begun.elapsed() < Duration::from_secs(5), "it never happens");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    begun.elapsed()
}

#[tokio::test]
async fn a_suspension_is_felt_at_once_and_without_identity_nothing_is_known() {
    let authority = TestAuthority::start().unwrap();
    let account_id: AccountId = Ids::system().id();
    let stop = CancellationToken::new();
    let identity = Identity::new(account_id, &stop);
    let anywhere = SocketAddr::from(([127, 0, 0, 1], 0));
    let (address, server) = serve(&identity, &authority, anywhere, &stop).await;
    let place = PeerAddress::List(vec![address.to_string()]);
    let channel = Channel::new("identity", place, &authority.tls("billing").unwrap());
    let watched = WatchedStanding::new(channel);
    tokio::spawn(watched.clone().run(CancellationToken::new()));
    until(|| watched.holder().is_fresh()).await;
    assert!(!watched.get(account_id).await.unwrap().unwrap().suspended);

    identity.suspend(2);
    let felt = until(|| watched.fresh(account_id).is_some_and(|s| s.suspended)).await;
    assert!(felt < Duration::from_millis(200), "{felt:?}");

    // The watch ends with the server, and the server does not wait for it.
    stop.cancel();
    tokio::time::timeout(Duration::from_secs(2), server)
        .await
        .unwrap()
        .unwrap();
    until(|| !watched.holder().is_fresh()).await;
    let begun = Instant::now();
    assert_eq!(watched.get(account_id).await.unwrap_err(), StandingUnknown);
    assert!(begun.elapsed() < Duration::from_millis(600));

    let stop = CancellationToken::new();
    let identity = Identity::new(account_id, &stop);
    let (_, _server) = serve(&identity, &authority, address, &stop).await;
    until(|| watched.holder().is_fresh()).await;
    assert!(
        !watched.get(account_id).await.unwrap().unwrap().suspended,
        "the old one is gone"
    );
}
