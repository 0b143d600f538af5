//! The parts put together, and what runs in the background.

use std::{collections::HashMap, net::SocketAddr, sync::Arc};

use anyhow::{Context, anyhow};
use arc_swap::ArcSwap;
use futures::{FutureExt, future::BoxFuture};
use tokio::{net::TcpListener, sync::Semaphore};
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic_health::{ServingStatus, server::HealthReporter};
use wanwu_clock::{Entropy, SharedClock, SystemEntropy};
use wanwu_grpc::{Channel, Tls};
use wanwu_ids::Ids;
use wanwu_personal::KeyProvider;
use wanwu_watch::WatchedStanding;

use crate::{
    address::{AddressKeys, TrustedProxies},
    admission::Admission,
    config::Config,
    contracts::Contracts,
    edge::Edge,
    follow_file::FollowedFile,
    grants::{self, Grants},
    listener, networks,
    networks::Networks,
    upstream::Upstream,
};

/// The edge, listening and not answering yet.
pub struct App {
    edge: Arc<Edge>,
    listener: TcpListener,
    address: SocketAddr,
    tls: Tls,
    config: Config,
    health: HealthReporter,
    descriptors: Option<FollowedFile>,
    networks: Option<FollowedFile>,
}

/// A task that runs as long as the process.
pub type Task = (&'static str, BoxFuture<'static, ()>);

const IDENTITY: &str = "identity";

impl App {
    /// Reads everything that the configuration names and listens. After `draining` it says that
    /// it is not serving.
    pub async fn build(
        config: Config,
        clock: SharedClock,
        ids: Ids,
        draining: CancellationToken,
    ) -> anyhow::Result<Self> {
        let tls = Tls::load(&config.tls).context("tls")?;
        let mut channels = HashMap::new();
        for service in config.peers.services() {
            channels.insert(Arc::from(service), config.peers.channel(service, &tls)?);
        }
        let identity: Channel = channels
            .get(IDENTITY)
            .cloned()
            .ok_or_else(|| anyhow!("peers.identity is not set"))?;
        let (descriptors, contracts) = contracts(&config).context("descriptors")?;
        let (networks, table) = networks(&config).context("network.table_file")?;
        tracing::info!(
            methods = contracts.len(),
            networks = table.len(),
            date = table.date(),
            "read"
        );
        let admission = Admission {
            networks: ArcSwap::from_pointee(table),
            proxies: TrustedProxies::new(Networks::of(&config.network.trusted_proxies)),
            address_keys: AddressKeys::new(&address_key(&config)?),
            grants: Arc::new(Grants::new(identity.clone(), &config.credentials, clock)),
            standing: WatchedStanding::new(identity),
        };
        let (health, health_service) = tonic_health::server::health_reporter();
        let listener = TcpListener::bind(config.grpc.listen)
            .await
            .with_context(|| format!("cannot listen on {}", config.grpc.listen))?;
        let edge = Edge {
            contracts: ArcSwap::from_pointee(contracts),
            admission,
            upstream: Upstream::new(channels),
            limits: config.limits.clone(),
            places: Arc::new(Semaphore::new(config.limits.max_requests)),
            open_places: Arc::new(Semaphore::new(config.limits.max_open_requests)),
            ids,
            health: Routes::new(health_service).prepare(),
            draining,
        };
        Ok(Self {
            address: listener.local_addr()?,
            edge: Arc::new(edge),
            listener,
            tls,
            config,
            health,
            descriptors,
            networks,
        })
    }

    /// Where it listens; of interest where the configuration says port 0.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Everything that runs until `stop`.
    #[must_use]
    pub fn tasks(self, stop: &CancellationToken) -> Vec<Task> {
        let Self {
            edge,
            listener,
            tls,
            config,
            health,
            descriptors,
            networks,
            ..
        } = self;
        let grants = Arc::clone(&edge.admission.grants);
        let draining = edge.draining.clone();
        let not_serving = async move {
            draining.cancelled().await;
            health
                .set_service_status("", ServingStatus::NotServing)
                .await;
        };
        let mut tasks: Vec<Task> = vec![
            (
                "public port",
                listener::accept(listener, Arc::clone(&edge), stop.clone()).boxed(),
            ),
            ("certificates", tls.reload(stop.clone()).boxed()),
            ("grants", grants.run(stop.clone()).boxed()),
            (
                "grants held",
                grants::tell_held(grants, stop.clone()).boxed(),
            ),
            (
                "standings",
                edge.admission.standing.clone().run(stop.clone()).boxed(),
            ),
            ("health", after(not_serving, stop.clone()).boxed()),
        ];
        if let Some(file) = descriptors {
            let edge = Arc::clone(&edge);
            let take = move |bytes: Vec<u8>| {
                Contracts::read(&bytes, &config.routes)
                    .map(|contracts| edge.contracts.store(Arc::new(contracts)))
            };
            tasks.push(("descriptors", file.follow(stop.clone(), take).boxed()));
        }
        if let Some(file) = networks {
            let take = move |bytes: Vec<u8>| {
                Networks::parse(&String::from_utf8_lossy(&bytes))
                    .map(|table| edge.admission.networks.store(Arc::new(table)))
            };
            tasks.push(("networks", file.follow(stop.clone(), take).boxed()));
        }
        tasks
    }
}

/// Does something once, then waits for the end.
async fn after(work: impl Future<Output = ()>, stop: CancellationToken) {
    stop.run_until_cancelled(work).await;
    stop.cancelled().await;
}

fn contracts(config: &Config) -> anyhow::Result<(Option<FollowedFile>, Contracts)> {
    let Some(path) = &config.descriptors.file else {
        let contracts = Contracts::read(wanwu_proto::DESCRIPTORS, &config.routes)?;
        return Ok((None, contracts));
    };
    let (file, bytes) = FollowedFile::read("descriptors", path)?;
    Ok((Some(file), Contracts::read(&bytes, &config.routes)?))
}

fn networks(config: &Config) -> anyhow::Result<(Option<FollowedFile>, Networks)> {
    let Some(path) = &config.network.table_file else {
        return Ok((None, Networks::parse(networks::EXAMPLE)?));
    };
    let (file, bytes) = FollowedFile::read("networks", path)?;
    Ok((Some(file), Networks::parse(std::str::from_utf8(&bytes)?)?))
}

/// The key under which addresses are hashed.
fn address_key(config: &Config) -> anyhow::Result<Box<[u8]>> {
    let Some(path) = &config.keys.file else {
        let mut key = [0; 32];
        SystemEntropy::default().fill(&mut key);
        return Ok(Box::new(key));
    };
    let keys = KeyProvider::from_file(path).context("keys.file")?;
    Ok(Box::from(keys.secret("edge.address").as_slice()))
}
