use std::sync::Arc;

use futures::{FutureExt, future::BoxFuture};
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use wanwu_access::AccessLayer;
use wanwu_clock::{SharedClock, SharedEntropy, SystemClock, SystemEntropy};
use wanwu_events::{Consumers, Relay};
use wanwu_grpc::{Channel, Server, Tls};
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

/// What the service is made of.
pub struct Parts {
    /// The database.
    pub pool: PgPool,
    /// Tells the time.
    pub clock: SharedClock,
    /// Where tokens and ids come from.
    pub entropy: SharedEntropy,
    /// The keys from outside the database.
    pub keys: KeyProvider,
    /// identity.
    pub identity: Channel,
    /// Devices that one app may register.
    pub max_devices: i64,
    /// Ends the watches that others hold.
    pub stop: CancellationToken,
}

impl App {
    /// Puts the parts together; nothing runs yet.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        let Parts {
            pool,
            clock,
            entropy,
            keys,
            identity,
            max_devices,
            stop,
        } = parts;
        Self {
            ids: Ids::new(Arc::clone(&clock), Arc::clone(&entropy)),
            pseudonyms: BlindIndex::new(&keys, "device-registry.device"),
            identity: Identity::new(identity),
            feed: Feed::new(stop),
            max_devices,
            pool,
            clock,
            entropy,
        }
    }

    /// Tells changed gates until `stop`.
    pub async fn tell_gates(self: Arc<Self>, stop: CancellationToken) {
        let pool = self.pool.clone();
        let fetch = move |since| {
            let pool = pool.clone();
            async move { gates::changed_since(&pool, since).await }
        };
        // The times of changes are the database's: of a machine, as this clock's.
        poll_changes(self.feed.clone(), Arc::new(SystemClock), stop, fetch).await;
    }

    /// Builds the service and starts its tasks.
    ///
    /// Boxed: all of it is compiled in this crate, and not again in the program and the tests.
    pub fn start(config: Config, shell: &Shell) -> BoxFuture<'_, anyhow::Result<()>> {
        Self::start_tasks(config, shell).boxed()
    }

    async fn start_tasks(config: Config, shell: &Shell) -> anyhow::Result<()> {
        let tls = Tls::load(&config.tls)?;
        shell.spawn_infallible("tls", tls.clone().reload(shell.stopping()));
        let pool = wanwu_postgres::connect(&config.database, "device-registry").await?;
        residency::check(&mut *pool.acquire().await?, &config.service.region).await?;
        let keys = KeyProvider::from_file(&config.keys.file)?;
        let identity = config.peers.channel("identity", &tls)?;
        let standing = WatchedStanding::new(identity.clone());
        shell.spawn_infallible("standing", standing.clone().run(shell.stopping()));

        let app = Arc::new(Self::new(Parts {
            pool: pool.clone(),
            clock: Arc::new(SystemClock),
            entropy: Arc::new(SystemEntropy::default()),
            keys,
            identity,
            max_devices: config.devices.max_per_app,
            stop: shell.stopping(),
        }));
        shell.spawn_infallible("gates", Arc::clone(&app).tell_gates(shell.stopping()));

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
