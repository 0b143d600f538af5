use std::{path::Path, sync::Arc};

use futures::{FutureExt, future::BoxFuture};
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use wanwu_access::AccessLayer;
use wanwu_clock::{SharedClock, SystemClock};
use wanwu_events::{Consumers, Relay};
use wanwu_grpc::{Server, Tls};
use wanwu_ids::{AccountId, Ids};
use wanwu_personal::KeyProvider;
use wanwu_postgres::{requests::BodyKey, residency};
use wanwu_proto::{
    operations::v1::dead_letter_service_server::DeadLetterServiceServer,
    privacy::v1::{
        PrivacyGate, agreement_service_server::AgreementServiceServer,
        consent_service_server::ConsentServiceServer,
        guardian_service_server::GuardianServiceServer,
        privacy_gate_service_server::PrivacyGateServiceServer,
    },
};
use wanwu_service::Shell;
use wanwu_watch::{Feed, WatchedStanding, poll_changes};

use crate::{
    commands::CatalogueError,
    config::Config,
    domain::gate::Gate,
    error::Error,
    grpc::Handlers,
    identity::Identity,
    purposes::Purposes,
    store::{agreements, gates},
};

/// The service: what every command works with.
pub struct App {
    pub(crate) pool: PgPool,
    pub(crate) clock: SharedClock,
    pub(crate) ids: Ids,
    pub(crate) body_key: BodyKey,
    pub(crate) identity: Identity,
    pub(crate) feed: Feed<PrivacyGate>,
    /// What one can consent to.
    pub purposes: Purposes,
}

impl App {
    /// Builds the service and starts its tasks.
    ///
    /// Boxed: all of it is compiled in this crate, and not again in the program and the tests.
    pub fn start(config: Config, shell: &Shell) -> BoxFuture<'_, anyhow::Result<()>> {
        Self::start_tasks(config, shell).boxed()
    }

    async fn start_tasks(config: Config, shell: &Shell) -> anyhow::Result<()> {
        let tls = Tls::load(&config.tls)?;
        shell.spawn_infallible("tls", tls.clone().reload(shell.stopping()));
        let pool = wanwu_postgres::connect(&config.database, "privacy").await?;
        residency::check(&mut *pool.acquire().await?, &config.service.region).await?;
        let keys = KeyProvider::from_file(&config.keys.file)?;
        let identity = config.peers.channel("identity", &tls)?;
        let standing = WatchedStanding::new(identity.clone());
        shell.spawn_infallible("standing", standing.clone().run(shell.stopping()));

        let app = Arc::new(Self {
            pool: pool.clone(),
            clock: Arc::new(SystemClock),
            ids: Ids::system(),
            body_key: BodyKey::new(&keys.secret("privacy.requests")[..]),
            identity: Identity::new(identity),
            feed: Feed::new(shell.stopping()),
            purposes: Purposes::load(&config.agreements.folder)?,
        });
        app.publish_catalogue(&config.agreements.folder).await?;
        app.tell_gates(shell);

        let relay = Relay::new(pool.clone(), config.broker.clone(), "privacy");
        shell.spawn_infallible("relay", relay.run(shell.stopping()));
        let consumers = Consumers::new(
            pool,
            config.broker.clone(),
            "privacy",
            Arc::new(SystemClock),
        );
        let dead_letters = consumers.dead_letters();

        let handlers = Handlers(app);
        let routes = Routes::new(AgreementServiceServer::new(handlers.clone()))
            .add_service(ConsentServiceServer::new(handlers.clone()))
            .add_service(GuardianServiceServer::new(handlers.clone()))
            .add_service(PrivacyGateServiceServer::new(handlers))
            .add_service(DeadLetterServiceServer::new(dead_letters));
        let access = AccessLayer::of_contracts(Some(Arc::new(standing)));
        let server = Server::bind(&config.grpc, &tls).await?;
        shell.spawn(
            "grpc",
            server.run(routes, access, shell.draining(), shell.stopping()),
        );
        Ok(())
    }

    /// Without a server and without its peers, on a database of a test.
    pub fn for_tests(
        pool: PgPool,
        clock: SharedClock,
        ids: Ids,
        folder: &Path,
    ) -> Result<Self, CatalogueError> {
        Ok(Self {
            pool,
            clock,
            ids,
            body_key: BodyKey::new(&[7; 32]),
            identity: Identity::nowhere(),
            feed: Feed::new(CancellationToken::new()),
            purposes: Purposes::load(folder)?,
        })
    }

    /// Privacy's part of an account's standing now.
    pub async fn gate(&self, account_id: AccountId) -> Result<Gate, Error> {
        let mut connection = self.pool.acquire().await?;
        Ok(gates::get(&mut connection, account_id, self.clock.now()).await?)
    }

    /// Tells every gate that changes, and, when an agreement comes into force, that all may have.
    fn tell_gates(self: &Arc<Self>, shell: &Shell) {
        let app = Arc::clone(self);
        let fetch = move |since| {
            let app = Arc::clone(&app);
            async move {
                let changed = gates::changed_since(&app.pool, since, app.clock.now()).await?;
                Ok::<_, sqlx::Error>(
                    changed
                        .into_iter()
                        .map(|(gate, at)| (PrivacyGate::from(gate), at))
                        .collect(),
                )
            }
        };
        let poll = poll_changes(
            self.feed.clone(),
            self.clock.clone(),
            shell.stopping(),
            fetch,
        );
        shell.spawn_infallible("gates", poll);
        let app = Arc::clone(self);
        let stop = shell.stopping();
        shell.spawn_infallible("agreements in force", async move {
            app.watch_agreements_in_force(stop).await;
        });
    }

    async fn watch_agreements_in_force(&self, stop: CancellationToken) {
        let look = std::time::Duration::from_millis(250);
        let mut in_force = None;
        while stop
            .run_until_cancelled(tokio::time::sleep(look))
            .await
            .is_some()
        {
            let count = async {
                let mut connection = self.pool.acquire().await?;
                agreements::count_in_force(&mut connection, self.clock.now()).await
            };
            // Away: the gates' own reading fails too, and the heartbeats stop.
            let Ok(count) = count.await else { continue };
            if in_force.is_some_and(|before| before != count) {
                self.feed.publish(PrivacyGate::default());
            }
            in_force = Some(count);
        }
    }
}

impl From<Gate> for PrivacyGate {
    fn from(gate: Gate) -> Self {
        Self {
            account_id: gate.account_id.to_string(),
            version: gate.version,
            agreements_current: gate.agreements_current,
            core_consent: gate.core_consent,
            guardian_consent: gate.guardian_consent,
        }
    }
}
