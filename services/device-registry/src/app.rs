use std::sync::Arc;

use sqlx::PgPool;
use tonic::service::Routes;
use wanwu_access::AccessLayer;
use wanwu_clock::{SharedClock, SharedEntropy, SystemClock, SystemEntropy};
use wanwu_events::{Consumers, Relay};
use wanwu_grpc::{Server, Tls};
use wanwu_ids::Ids;
use wanwu_personal::{BlindIndex, KeyProvider};
use wanwu_postgres::residency;
use wanwu_proto::{
    device::v1::{
        DeviceGate, device_gate_service_server::DeviceGateServiceServer,
        device_service_server::DeviceServiceServer, licence_service_server::LicenceServiceServer,
    },
    operations::v1::dead_letter_service_server::DeadLetterServiceServer,
};
use wanwu_service::Shell;
use wanwu_watch::{Feed, WatchedStanding, poll_changes};

use crate::{config::Config, grpc::Handlers, identity::Identity, store::gates};

/// The service: what every command works with.
pub struct App {
    pub(crate) pool: PgPool,
    pub(crate) clock: SharedClock,
    pub(crate) entropy: SharedEntropy,
    pub(crate) ids: Ids,
    pub(crate) pseudonyms: BlindIndex,
    pub(crate) identity: Identity,
    pub(crate) feed: Feed<DeviceGate>,
    pub(crate) max_devices: i64,
}

impl App {
    /// Builds the service and starts its tasks.
    pub async fn start(config: Config, shell: &Shell) -> anyhow::Result<()> {
        let tls = Tls::load(&config.tls)?;
        shell.spawn_infallible("tls", tls.clone().reload(shell.stopping()));
        let pool = wanwu_postgres::connect(&config.database, "device-registry").await?;
        residency::check(&mut *pool.acquire().await?, &config.service.region).await?;
        let keys = KeyProvider::from_file(&config.keys.file)?;
        let identity = config.peers.channel("identity", &tls)?;
        let standing = WatchedStanding::new(identity.clone());
        shell.spawn_infallible("standing", standing.clone().run(shell.stopping()));

        let app = Arc::new(Self {
            pool: pool.clone(),
            clock: Arc::new(SystemClock),
            entropy: Arc::new(SystemEntropy::default()),
            ids: Ids::system(),
            pseudonyms: BlindIndex::new(&keys, "device-registry.device"),
            identity: Identity::new(identity),
            feed: Feed::new(shell.stopping()),
            max_devices: config.devices.max_per_app,
        });
        let fetch = {
            let pool = pool.clone();
            move |since| {
                let pool = pool.clone();
                async move { gates::changed_since(&pool, since).await }
            }
        };
        let poll = poll_changes(app.feed.clone(), app.clock.clone(), shell.stopping(), fetch);
        shell.spawn_infallible("gates", poll);

        let relay = Relay::new(pool.clone(), config.broker.clone(), "device-registry");
        shell.spawn_infallible("relay", relay.run(shell.stopping()));
        let dead_letters = Consumers::new(
            pool,
            config.broker.clone(),
            "device-registry",
            app.clock.clone(),
        )
        .dead_letters();

        let handlers = Handlers(app);
        let routes = Routes::new(DeviceServiceServer::new(handlers.clone()))
            .add_service(LicenceServiceServer::new(handlers.clone()))
            .add_service(DeviceGateServiceServer::new(handlers))
            .add_service(DeadLetterServiceServer::new(dead_letters));
        let access = AccessLayer::of_contracts(Some(Arc::new(standing)));
        let server = Server::bind(&config.grpc, &tls).await?;
        shell.spawn(
            "grpc",
            server.run(routes, access, shell.draining(), shell.stopping()),
        );
        Ok(())
    }
}
