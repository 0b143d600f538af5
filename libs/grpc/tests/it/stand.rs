//! A server to try things on: it answers GetStanding by what the account id asks for.

use std::{
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::Stream;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};
use tower::layer::util::Identity;
use wanwu_grpc::{
    Channel, Context, GrpcConfig, Peer, PeerAddress, Routes, Server, Tls, testing::TestAuthority,
};
use wanwu_proto::identity::v1::{
    GetStandingRequest, GetStandingResponse, Standing, WatchStandingsRequest,
    WatchStandingsResponse,
    standing_service_client::StandingServiceClient,
    standing_service_server::{StandingService, StandingServiceServer},
};

pub struct Stand {
    pub authority: TestAuthority,
    pub address: SocketAddr,
    pub handler: Handler,
    pub draining: CancellationToken,
    pub stop: CancellationToken,
    pub run: JoinHandle<()>,
}

#[derive(Clone, Default)]
pub struct Handler {
    pub calls: Arc<AtomicUsize>,
    pub finished: Arc<AtomicUsize>,
    pub onward: Option<Channel>,
}

pub type Client = StandingServiceClient<Channel>;

pub fn config(listen: SocketAddr) -> GrpcConfig {
    GrpcConfig {
        listen,
        drain_timeout: Duration::from_secs(2),
        ..GrpcConfig::default()
    }
}

impl Stand {
    pub async fn start() -> Self {
        Self::start_with(Handler::default(), |_| {}).await
    }

    pub async fn start_with(handler: Handler, change: impl FnOnce(&mut GrpcConfig)) -> Self {
        let authority = TestAuthority::start().unwrap();
        let tls = authority.tls("identity").unwrap();
        Self::start_as(authority, &tls, handler, change).await
    }

    pub async fn start_as(
        authority: TestAuthority,
        tls: &Tls,
        handler: Handler,
        change: impl FnOnce(&mut GrpcConfig),
    ) -> Self {
        let mut config = config(SocketAddr::from(([127, 0, 0, 1], 0)));
        change(&mut config);
        let (draining, stop) = (CancellationToken::new(), CancellationToken::new());
        let (address, run) = serve(&config, tls, &handler, &draining, &stop).await;
        Self {
            authority,
            address,
            handler,
            draining,
            stop,
            run,
        }
    }

    pub fn channel(&self, me: &str) -> Channel {
        Channel::new(
            "identity",
            at(&[self.address]),
            &self.authority.tls(me).unwrap(),
        )
    }

    pub fn client(&self, me: &str) -> Client {
        StandingServiceClient::new(self.channel(me))
    }
}

pub async fn serve(
    config: &GrpcConfig,
    tls: &Tls,
    handler: &Handler,
    draining: &CancellationToken,
    stop: &CancellationToken,
) -> (SocketAddr, JoinHandle<()>) {
    let server = Server::bind(config, tls).await.unwrap();
    let address = server.local_addr();
    let routes = Routes::new(StandingServiceServer::new(handler.clone()));
    let run = server.run(routes, Identity::new(), draining.clone(), stop.clone());
    (address, tokio::spawn(async move { run.await.unwrap() }))
}

pub fn at(addresses: &[SocketAddr]) -> PeerAddress {
    PeerAddress::List(addresses.iter().map(ToString::to_string).collect())
}

pub fn ask(what: &str) -> Request<GetStandingRequest> {
    Request::new(GetStandingRequest {
        account_id: what.to_owned(),
    })
}

#[tonic::async_trait]
impl StandingService for Handler {
    async fn get_standing(
        &self,
        request: Request<GetStandingRequest>,
    ) -> Result<Response<GetStandingResponse>, Status> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        let peer = request
            .extensions()
            .get::<Peer>()
            .unwrap()
            .service()
            .to_owned();
        let mut standing = Standing::default();
        match request.get_ref().account_id.as_str() {
            "peer" => standing.account_id = peer,
            "request id" => {
                standing.account_id = Context::current().unwrap().request_id().to_owned();
            }
            "remaining" => {
                let left = Context::current().unwrap().remaining().unwrap_or_default();
                standing.version = u64::try_from(left.as_millis()).unwrap();
            }
            "remaining there" => {
                let mut client = StandingServiceClient::new(self.onward.clone().unwrap());
                tokio::time::sleep(Duration::from_millis(300)).await;
                return client.get_standing(ask("remaining")).await;
            }
            "without end" => std::future::pending().await,
            "slow" => {
                tokio::time::sleep(Duration::from_millis(800)).await;
                self.finished.fetch_add(1, Ordering::SeqCst);
            }
            "panic" => panic!("asked for"),
            _ => {}
        }
        Ok(Response::new(GetStandingResponse {
            standing: Some(standing),
        }))
    }

    type WatchStandingsStream =
        Pin<Box<dyn Stream<Item = Result<WatchStandingsResponse, Status>> + Send>>;

    async fn watch_standings(
        &self,
        _: Request<WatchStandingsRequest>,
    ) -> Result<Response<Self::WatchStandingsStream>, Status> {
        Ok(Response::new(Box::pin(async_stream::stream! {
            loop {
                yield Ok(WatchStandingsResponse { standing: None });
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        })))
    }
}
