use std::{sync::Arc, time::Duration};

use anyhow::Context;
use futures::{FutureExt, future::BoxFuture};
use secrecy::SecretString;
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use wanwu_access::AccessLayer;
use wanwu_clock::{SharedClock, SharedEntropy, SystemClock, SystemEntropy};
use wanwu_events::{Consumers, Relay};
use wanwu_grpc::{Channel, Server, Tls};
use wanwu_ids::Ids;
use wanwu_personal::{KeyProvider, SubjectKeys};
use wanwu_postgres::{requests::BodyKey, residency};
use wanwu_proto::{
    operations::v1::dead_letter_service_server::DeadLetterServiceServer,
    verification::v1::{
        RealNameGate, real_name_gate_service_server::RealNameGateServiceServer,
        verification_service_server::VerificationServiceServer,
    },
};
use wanwu_service::Shell;
use wanwu_watch::{Feed, WatchedStanding, poll_changes};

use crate::{
    config::{AgencyConfig, Config},
    error::Error,
    grpc::Handlers,
    privacy::Privacy,
    providers::agency::Agency,
    store::gates,
};

/// How often pending checks and birthdays are looked at.
const LOOK: Duration = Duration::from_secs(1);

/// The service: what every command works with.
pub struct App {
    pub(crate) pool: PgPool,
    pub(crate) clock: SharedClock,
    pub(crate) ids: Ids,
    pub(crate) body_key: BodyKey,
    pub(crate) keys: SubjectKeys,
    pub(crate) privacy: Privacy,
    pub(crate) agency: Agency,
    pub(crate) feed: Feed<RealNameGate>,
}

/// What the service is made of.
pub struct Parts {
    /// The database.
    pub pool: PgPool,
    /// Tells the time.
    pub clock: SharedClock,
    /// Where data keys and ids come from.
    pub entropy: SharedEntropy,
    /// The keys from outside the database.
    pub keys: Arc<KeyProvider>,
    /// privacy.
    pub privacy: Channel,
    /// The agency.
    pub agency: Agency,
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
            privacy,
            agency,
            stop,
        } = parts;
        Self {
            ids: Ids::new(Arc::clone(&clock), Arc::clone(&entropy)),
            body_key: BodyKey::new(&keys.secret("verification.requests")[..]),
            keys: SubjectKeys::new(pool.clone(), keys, entropy),
            privacy: Privacy::new(privacy),
            agency,
            feed: Feed::new(stop),
            pool,
            clock,
        }
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
        let pool = wanwu_postgres::connect(&config.database, "verification").await?;
        residency::check(&mut *pool.acquire().await?, &config.service.region).await?;
        let keys = Arc::new(KeyProvider::from_file(&config.keys.file)?);
        let standing = WatchedStanding::new(config.peers.channel("identity", &tls)?);
        shell.spawn_infallible("standing", standing.clone().run(shell.stopping()));

        let clock: SharedClock = Arc::new(SystemClock);
        let app = Arc::new(Self::new(Parts {
            pool: pool.clone(),
            clock: clock.clone(),
            entropy: Arc::new(SystemEntropy::default()),
            keys,
            privacy: config.peers.channel("privacy", &tls)?,
            agency: agency(&config.agency, clock.clone())?,
            stop: shell.stopping(),
        }));
        let fetch = {
            let pool = pool.clone();
            move |since| {
                let pool = pool.clone();
                async move { gates::changed_since(&pool, since).await }
            }
        };
        let poll = poll_changes(app.feed.clone(), clock.clone(), shell.stopping(), fetch);
        shell.spawn_infallible("gates", poll);
        shell.spawn_infallible("checks", Arc::clone(&app).look_again(shell.stopping()));

        let relay = Relay::new(pool.clone(), config.broker.clone(), "verification");
        shell.spawn_infallible("relay", relay.run(shell.stopping()));
        let dead_letters =
            Consumers::new(pool, config.broker.clone(), "verification", clock).dead_letters();

        let handlers = Handlers(app);
        let routes = Routes::new(VerificationServiceServer::new(handlers.clone()))
            .add_service(RealNameGateServiceServer::new(handlers))
            .add_service(DeadLetterServiceServer::new(dead_letters));
        let access = AccessLayer::of_contracts(Some(Arc::new(standing)));
        let server = Server::bind(&config.grpc, &tls).await?;
        shell.spawn(
            "grpc",
            server.run(routes, access, shell.draining(), shell.stopping()),
        );
        Ok(())
    }

    /// Asks about pending checks and looks at birthdays, until stopped.
    async fn look_again(self: Arc<Self>, stop: CancellationToken) {
        let mut failing = false;
        while stop
            .run_until_cancelled(tokio::time::sleep(LOOK))
            .await
            .is_some()
        {
            let looked = async {
                self.ask_about_pending().await?;
                self.band_again().await?;
                Ok::<_, Error>(())
            };
            match looked.await {
                Ok(()) => failing = false,
                Err(error) => {
                    if !failing {
                        let error: &dyn std::error::Error = &error;
                        tracing::warn!(error, "pending checks cannot be looked at");
                    }
                    failing = true;
                }
            }
        }
    }
}

fn agency(config: &AgencyConfig, clock: SharedClock) -> anyhow::Result<Agency> {
    let secret: SecretString = match (&config.secret, &config.secret_file) {
        (Some(secret), None) => secret.clone(),
        (None, Some(path)) => std::fs::read_to_string(path)
            .with_context(|| format!("cannot read {}", path.display()))?
            .trim()
            .into(),
        _ => anyhow::bail!("set exactly one of agency.secret and agency.secret_file"),
    };
    Ok(Agency::new(
        &config.base_url,
        config.app_id.clone(),
        secret,
        config.timeout,
        clock,
    )?)
}
