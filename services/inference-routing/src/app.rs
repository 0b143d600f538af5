//! The parts put together, and what runs in the background.

use std::{fs, sync::Arc, time::Duration};

use futures::{FutureExt, future::BoxFuture};
use sqlx::PgPool;
use tokio::time::{sleep, timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::BoxError;
use wanwu_clock::SharedClock;
use wanwu_ids::Ids;

use crate::{
    catalogue::Catalogue,
    commands::{self, chat::Chat},
    config::{InvalidConfig, Sections, invalid},
    credit::{Credit, lender::Lender},
    devices::Devices,
    domain::screen::Screen,
    engine::{
        client::EngineClient,
        discovery::{discover, look_up},
        probe::probe,
        reports::follow_reports,
    },
    journal::{
        Journal,
        epoch::Epoch,
        recovery::Recovery,
        writer::{Inbox, Writer},
    },
    limiter::Limiter,
    peers::PeerChannel,
    routes::Routes,
    store::idempotency_keys,
};

const DEMONSTRATION_LEXICON: &str = include_str!("../data/demonstration.lexicon.tsv");
/// What a kill leaves unbilled of a stream at most, in tokens: the promise.
const PROGRESS_WINDOW: u64 = 64;
/// How long running calls may take to end when the process stops.
const CALLS_LIMIT: Duration = Duration::from_secs(20);
/// How long leases may take to go back when the process stops.
const RETURNS_LIMIT: Duration = Duration::from_secs(2);
/// How often old idempotency keys are forgotten.
const FORGET_EVERY: Duration = Duration::from_secs(300);

/// What the application is made of.
pub struct Parts {
    /// The configuration.
    pub config: Sections,
    /// It is a production environment.
    pub production: bool,
    /// The key of the labels' integrity values.
    pub integrity: Option<Vec<u8>>,
    /// The database, for the journal's writer alone.
    pub journal_pool: PgPool,
    /// The database, for everything else.
    pub pool: PgPool,
    /// billing.
    pub billing: PeerChannel,
    /// device-registry.
    pub device_registry: PeerChannel,
    /// Makes ids.
    pub ids: Ids,
    /// Tells the time.
    pub clock: SharedClock,
    /// The name of this replica, for people.
    pub replica: String,
}

/// The application.
pub struct App {
    /// Chat calls.
    pub chat: Arc<Chat>,
    /// The database.
    pub pool: PgPool,
    writer: Option<(Inbox, PgPool)>,
    recovery: Arc<Recovery>,
    config: Sections,
    replica: String,
}

/// A task that runs as long as the process; when it ends before it is stopped, so does the
/// process.
pub type Task = (&'static str, BoxFuture<'static, Result<(), BoxError>>);

/// Reads the lexicon of a configuration.
pub fn screen(config: &Sections) -> Result<Screen, InvalidConfig> {
    let key = "screen.lexicon_file";
    let text = match &config.screen.lexicon_file {
        None => DEMONSTRATION_LEXICON.to_owned(),
        Some(path) => fs::read_to_string(path).map_err(|e| invalid(key, &e.to_string()))?,
    };
    Screen::parse(&text).map_err(|error| invalid(key, &error.to_string()))
}

impl App {
    /// Puts the parts together; nothing runs yet.
    pub fn build(parts: Parts) -> Result<Self, InvalidConfig> {
        let config = parts.config;
        config.check()?;
        let epoch = Arc::new(Epoch::new(parts.ids.id(), config.epoch));
        let lender = Lender::new(parts.billing, config.leases.ask_timeout);
        let credit = Credit::new(
            config.leases.clone(),
            lender.clone(),
            epoch.id(),
            parts.ids.clone(),
        );
        let (journal, inbox) = Journal::new(&config.journal);
        let recovery = Recovery {
            pool: parts.pool.clone(),
            own: epoch.clone(),
            lender,
            ids: parts.ids.clone(),
            clock: parts.clock.clone(),
            window: PROGRESS_WINDOW,
        };
        let chat = Chat {
            catalogue: Arc::new(Catalogue::build(
                &config,
                parts.integrity.as_deref(),
                parts.production,
            )?),
            routes: Arc::new(Routes::default()),
            copies: commands::room_for_copies(),
            screen: Arc::new(screen(&config)?),
            devices: Devices::new(parts.device_registry, parts.clock.clone()),
            limiter: Limiter::new(parts.pool.clone(), epoch.id(), config.limits.limits()),
            credit,
            journal,
            epoch,
            engines: EngineClient::new(&config.engines),
            config: config.chat.clone(),
            engine_config: config.engines.clone(),
            ids: parts.ids,
            clock: parts.clock,
            calls: TaskTracker::new(),
        };
        Ok(Self {
            chat: Arc::new(chat),
            pool: parts.pool,
            writer: Some((inbox, parts.journal_pool)),
            recovery: Arc::new(recovery),
            config,
            replica: parts.replica,
        })
    }

    /// New calls may come.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.chat.is_ready()
    }

    /// Recovers once; the background does so each second.
    #[must_use]
    pub fn recovery(&self) -> Arc<Recovery> {
        self.recovery.clone()
    }

    /// Everything that runs in the background until `stop`. Calls may come until `served`, because
    /// callers learn of the stop a moment later. Then running calls end, leases go back, and last
    /// the journal and the epoch end. To be asked once.
    pub fn tasks(&mut self, stop: CancellationToken, served: CancellationToken) -> Vec<Task> {
        let Some((inbox, journal_pool)) = self.writer.take() else {
            return Vec::new();
        };
        let last = CancellationToken::new();
        let chat = self.chat.clone();
        let writer = Writer::new(
            inbox,
            journal_pool,
            chat.epoch.id(),
            chat.ids.clone(),
            self.config.journal.clone(),
        );
        vec![
            ("journal", fallible(writer.run(last.clone()))),
            ("epoch", self.epoch_task(last.clone())),
            ("recovery", self.recovery_task(stop.clone())),
            (
                "lease returns",
                self.returns_task(stop.clone(), served, last),
            ),
            ("lease recalls", self.recalls_task(stop.clone())),
            ("limits", {
                let limiter = chat.limiter.clone();
                let stop = stop.clone();
                endless(async move { limiter.run(stop).await })
            }),
            ("routes", {
                let (routes, pool) = (chat.routes.clone(), self.pool.clone());
                let stop = stop.clone();
                endless(async move { routes.follow(&pool, stop).await })
            }),
            ("device gates", {
                endless(chat.devices.holder().run(stop.clone()))
            }),
            ("engine probe", {
                let every = self.config.engines.probe_every;
                endless(probe(
                    chat.engines.clone(),
                    chat.catalogue.probed(),
                    every,
                    stop.clone(),
                ))
            }),
            ("engine reports", {
                let every = self.config.engines.report_every;
                endless(follow_reports(
                    chat.engines.clone(),
                    chat.catalogue.reporting(),
                    every,
                    stop.clone(),
                ))
            }),
            ("engine discovery", {
                let every = self.config.engines.discover_every;
                endless(discover(
                    chat.catalogue.sources(),
                    look_up,
                    every,
                    stop.clone(),
                ))
            }),
            (
                "idempotency keys",
                endless(forget_keys(self.pool.clone(), stop)),
            ),
        ]
    }

    fn epoch_task(&self, stop: CancellationToken) -> BoxFuture<'static, Result<(), BoxError>> {
        let (epoch, pool) = (self.chat.epoch.clone(), self.pool.clone());
        let replica = self.replica.clone();
        fallible(async move { epoch.run(&pool, &replica, stop).await })
    }

    fn recovery_task(&self, stop: CancellationToken) -> BoxFuture<'static, Result<(), BoxError>> {
        let (recovery, every) = (self.recovery.clone(), self.config.epoch.recover_every);
        endless(async move { recovery.run(every, stop).await })
    }

    fn recalls_task(&self, stop: CancellationToken) -> BoxFuture<'static, Result<(), BoxError>> {
        let credit = self.chat.credit.clone();
        endless(async move { credit.run_recalls(stop).await })
    }

    fn returns_task(
        &self,
        stop: CancellationToken,
        served: CancellationToken,
        last: CancellationToken,
    ) -> BoxFuture<'static, Result<(), BoxError>> {
        let (chat, pool) = (self.chat.clone(), self.pool.clone());
        endless(async move {
            chat.credit.run_returns(&pool, stop).await;
            let ended = async {
                served.cancelled().await;
                chat.calls.close();
                chat.calls.wait().await;
            };
            if timeout(CALLS_LIMIT, ended).await.is_err() {
                tracing::warn!("calls run still: the next process recovers them");
            }
            let _ = timeout(RETURNS_LIMIT, chat.credit.return_all(&pool)).await;
            let _ = timeout(RETURNS_LIMIT, chat.limiter.give_back(true)).await;
            last.cancel();
        })
    }
}

async fn forget_keys(pool: PgPool, stop: CancellationToken) {
    while !stop.is_cancelled() {
        if let Err(error) = idempotency_keys::forget_old(&pool).await {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "old idempotency keys could not be forgotten"
            );
        }
        tokio::select! {
            () = sleep(FORGET_EVERY) => {}
            () = stop.cancelled() => {}
        }
    }
}

fn endless(
    task: impl Future<Output = ()> + Send + 'static,
) -> BoxFuture<'static, Result<(), BoxError>> {
    task.map(Ok).boxed()
}

fn fallible<E: Into<BoxError>>(
    task: impl Future<Output = Result<(), E>> + Send + 'static,
) -> BoxFuture<'static, Result<(), BoxError>> {
    task.map(|result| result.map_err(Into::into)).boxed()
}
