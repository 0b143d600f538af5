use std::{
    collections::HashMap,
    pin::Pin,
    sync::{Arc, Weak},
    time::Duration,
};

use aws_lc_rs::hmac;
use parking_lot::Mutex;
use sqlx::PgPool;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use wanwu_access::{AccessLayer, StandingSource, StandingUnknown};
use wanwu_clock::{SharedClock, SharedEntropy, SystemClock, SystemEntropy};
use wanwu_events::{Consumers, Relay};
use wanwu_grpc::{Server, Tls};
use wanwu_ids::{AccountId, Ids};
use wanwu_personal::{BlindIndex, KeyProvider, SubjectKeys};
use wanwu_postgres::{requests::BodyKey, residency};
use wanwu_proto::{
    identity::v1::{
        Grant, NotificationRequested, Standing,
        account_code_service_server::AccountCodeServiceServer,
        api_key_service_server::ApiKeyServiceServer, app_service_server::AppServiceServer,
        grant_service_server::GrantServiceServer, operator_service_server::OperatorServiceServer,
        session_service_server::SessionServiceServer,
        standing_service_server::StandingServiceServer,
    },
    operations::v1::dead_letter_service_server::DeadLetterServiceServer,
    privacy::v1::{ConsentChanged, privacy_gate_service_client::PrivacyGateServiceClient},
    verification::v1::{RealNameChanged, real_name_gate_service_client::RealNameGateServiceClient},
};
use wanwu_service::Shell;
use wanwu_watch::{Feed, Holder, HolderEvent, SOURCE_FRESH_FOR, poll_changes};

use crate::{
    config::{Config, SmsConfig},
    domain::send_limits::SendLimits,
    error::Error,
    events::{RepairConsent, RepairRealName, SendRequestedNotification},
    gates::{Privacy, PrivacyGates, RealNameGates},
    grpc::Handlers,
    providers::alibaba_sms::{AlibabaAccess, AlibabaSms},
    store::{codes, grants, standings},
};

/// Gates of so many accounts are held in memory.
const HELD: usize = 200_000;
/// How often what is over is removed.
const SWEEP: Duration = Duration::from_secs(600);

/// The service: what every command works with.
pub struct App {
    pub(crate) pool: PgPool,
    pub(crate) clock: SharedClock,
    pub(crate) entropy: SharedEntropy,
    pub(crate) ids: Ids,
    pub(crate) body_key: BodyKey,
    pub(crate) code_key: hmac::Key,
    pub(crate) keys: SubjectKeys,
    pub(crate) phones: BlindIndex,
    pub(crate) limits: SendLimits,
    pub(crate) sms: AlibabaSms,
    pub(crate) templates: HashMap<String, String>,
    pub(crate) privacy: Privacy,
    pub(crate) privacy_gates: Holder<PrivacyGates>,
    pub(crate) real_name_gates: Holder<RealNameGates>,
    pub(crate) grants_feed: Feed<Grant>,
    pub(crate) standings_feed: Feed<Standing>,
}

impl App {
    /// Builds the service and starts its tasks.
    pub async fn start(config: Config, shell: &Shell) -> anyhow::Result<()> {
        let tls = Tls::load(&config.tls)?;
        shell.spawn_infallible("tls", tls.clone().reload(shell.stopping()));
        let standings_read = Arc::new(Mutex::new(None));
        let app = Arc::new(Self::build(&config, &tls, &standings_read, shell.stopping()).await?);
        app.start_watching(&standings_read, shell);

        let pool = app.pool.clone();
        let relay = Relay::new(pool.clone(), config.broker.clone(), "identity");
        shell.spawn_infallible("relay", relay.run(shell.stopping()));
        let consumers = Consumers::new(pool, config.broker.clone(), "identity", app.clock.clone())
            .on::<ConsentChanged, _>(RepairConsent)
            .on::<RealNameChanged, _>(RepairRealName)
            .on::<NotificationRequested, _>(SendRequestedNotification(Arc::clone(&app)));
        let dead_letters = consumers.dead_letters();
        shell.spawn_infallible("consumers", consumers.run(shell.stopping()));

        let standing = OwnStanding(Arc::downgrade(&app));
        let handlers = Handlers(app);
        let routes = Routes::new(SessionServiceServer::new(handlers.clone()))
            .add_service(AppServiceServer::new(handlers.clone()))
            .add_service(ApiKeyServiceServer::new(handlers.clone()))
            .add_service(GrantServiceServer::new(handlers.clone()))
            .add_service(StandingServiceServer::new(handlers.clone()))
            .add_service(AccountCodeServiceServer::new(handlers.clone()))
            .add_service(OperatorServiceServer::new(handlers))
            .add_service(DeadLetterServiceServer::new(dead_letters));
        let access = AccessLayer::of_contracts(Some(Arc::new(standing)));
        let server = Server::bind(&config.grpc, &tls).await?;
        shell.spawn(
            "grpc",
            server.run(routes, access, shell.draining(), shell.stopping()),
        );
        Ok(())
    }

    /// The service for a command on the host: no server, no tasks.
    pub async fn on_host(config: &Config) -> anyhow::Result<Self> {
        let tls = Tls::load(&config.tls)?;
        Self::build(config, &tls, &Arc::default(), CancellationToken::new()).await
    }

    async fn build(
        config: &Config,
        tls: &Tls,
        standings_read: &Arc<Mutex<Option<Instant>>>,
        stop: CancellationToken,
    ) -> anyhow::Result<Self> {
        let pool = wanwu_postgres::connect(&config.database, "identity").await?;
        residency::check(&mut *pool.acquire().await?, &config.service.region).await?;
        let keys = Arc::new(KeyProvider::from_file(&config.keys.file)?);
        let clock: SharedClock = Arc::new(SystemClock);
        let entropy: SharedEntropy = Arc::new(SystemEntropy::default());
        let (privacy, verification) = (
            config.peers.channel("privacy", tls)?,
            config.peers.channel("verification", tls)?,
        );
        let privacy_gates = Holder::new(
            PrivacyGates(PrivacyGateServiceClient::new(privacy.clone())),
            HELD,
        );
        let real_name_gates = Holder::new(
            RealNameGates(RealNameGateServiceClient::new(verification)),
            HELD,
        );
        // What is told downstream is current only while everything that it is made from is.
        let is_fresh = {
            let (privacy, real_name) = (privacy_gates.clone(), real_name_gates.clone());
            let read = Arc::clone(standings_read);
            move || {
                let own = read
                    .lock()
                    .is_some_and(|at: Instant| at.elapsed() < SOURCE_FRESH_FOR);
                own && privacy.is_fresh() && real_name.is_fresh()
            }
        };
        Ok(Self {
            body_key: BodyKey::new(&keys.secret("identity.requests")[..]),
            code_key: hmac::Key::new(hmac::HMAC_SHA256, &keys.secret("identity.codes")[..]),
            phones: BlindIndex::new(&keys, "identity.phone"),
            keys: SubjectKeys::new(pool.clone(), keys, Arc::clone(&entropy)),
            limits: config.codes.into(),
            sms: sms(&config.sms, &clock, &entropy)?,
            templates: config.sms.templates.clone(),
            privacy: Privacy(privacy),
            privacy_gates,
            real_name_gates,
            grants_feed: Feed::new(stop.clone()),
            standings_feed: Feed::composed(is_fresh, stop),
            pool,
            ids: Ids::new(Arc::clone(&clock), Arc::clone(&entropy)),
            clock,
            entropy,
        })
    }

    fn start_watching(
        self: &Arc<Self>,
        standings_read: &Arc<Mutex<Option<Instant>>>,
        shell: &Shell,
    ) {
        let stop = || shell.stopping();
        shell.spawn_infallible("privacy gates", self.privacy_gates.clone().run(stop()));
        shell.spawn_infallible("real name gates", self.real_name_gates.clone().run(stop()));

        let pool = self.pool.clone();
        let fetch = move |since| {
            let pool = pool.clone();
            async move { grants::changed_since(&pool, since).await }
        };
        let poll = poll_changes(self.grants_feed.clone(), self.clock.clone(), stop(), fetch);
        shell.spawn_infallible("grants", poll);

        let (pool, read) = (self.pool.clone(), Arc::clone(standings_read));
        let fetch = move |since| {
            let (pool, read) = (pool.clone(), Arc::clone(&read));
            async move {
                let begun = Instant::now();
                let changed = standings::changed_since(&pool, since).await?;
                *read.lock() = Some(begun);
                Ok::<_, sqlx::Error>(changed)
            }
        };
        let poll = poll_changes(
            self.standings_feed.clone(),
            self.clock.clone(),
            stop(),
            fetch,
        );
        shell.spawn_infallible("standings", poll);
        shell.spawn_infallible("composing", Arc::clone(self).compose(stop()));
        shell.spawn_infallible("sweeping", Arc::clone(self).sweep(stop()));
    }

    /// Writes every gate that is told into the standings at once.
    async fn compose(self: Arc<Self>, stop: CancellationToken) {
        let mut privacy = self.privacy_gates.events();
        let mut real_name = self.real_name_gates.events();
        loop {
            let merged = tokio::select! {
                () = stop.cancelled() => return,
                event = privacy.recv() => match event {
                    Ok(HolderEvent::Changed(gate)) => match gate.account_id.parse() {
                        Ok(account_id) => self.merge_privacy(account_id, &gate).await,
                        Err(_) => continue,
                    },
                    Ok(HolderEvent::Cleared) | Err(_) => { self.standings_feed.reset(); continue }
                },
                event = real_name.recv() => match event {
                    Ok(HolderEvent::Changed(gate)) => match gate.account_id.parse() {
                        Ok(account_id) => self.merge_verification(account_id, &gate).await,
                        Err(_) => continue,
                    },
                    Ok(HolderEvent::Cleared) | Err(_) => { self.standings_feed.reset(); continue }
                },
            };
            if let Err(error) = merged {
                // Not written, so not told: holders must ask, and asking writes it.
                let error: &dyn std::error::Error = &error;
                tracing::warn!(error, "a changed gate could not be written");
                self.standings_feed.reset();
            }
        }
    }

    async fn sweep(self: Arc<Self>, stop: CancellationToken) {
        while stop
            .run_until_cancelled(tokio::time::sleep(SWEEP))
            .await
            .is_some()
        {
            let now = self.clock.now();
            let swept = async {
                codes::sweep(&self.pool, now).await?;
                grants::sweep(&self.pool, now - chrono::Duration::days(1)).await
            };
            if let Err(error) = swept.await {
                let error: &dyn std::error::Error = &error;
                tracing::warn!(error, "what is over could not be removed");
            }
        }
    }
}

fn sms(
    config: &SmsConfig,
    clock: &SharedClock,
    entropy: &SharedEntropy,
) -> anyhow::Result<AlibabaSms> {
    let access = AlibabaAccess {
        base: config.base_url.clone(),
        access_key_id: config.access_key_id.clone(),
        access_key_secret: config.secret()?,
        sign_name: config.sign_name.clone(),
    };
    Ok(AlibabaSms::new(
        access,
        Arc::clone(clock),
        Arc::clone(entropy),
    )?)
}

/// Identity's own gates look at its own tables.
struct OwnStanding(Weak<App>);

impl StandingSource for OwnStanding {
    fn fresh(&self, _: AccountId) -> Option<Arc<Standing>> {
        None
    }

    fn ask(
        &self,
        account_id: AccountId,
    ) -> Pin<Box<dyn Future<Output = Result<Option<Arc<Standing>>, StandingUnknown>> + Send + '_>>
    {
        Box::pin(async move {
            let app = self.0.upgrade().ok_or(StandingUnknown)?;
            match app.standing(account_id).await {
                Ok(standing) => Ok(Some(Arc::new(standing))),
                Err(Error::NotFound) => Ok(None),
                Err(_) => Err(StandingUnknown),
            }
        })
    }
}
