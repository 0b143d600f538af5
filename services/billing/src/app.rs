use std::{sync::Arc, time::Duration};

use sqlx::PgPool;
use tokio::sync::{Notify, broadcast};
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use wanwu_access::AccessLayer;
use wanwu_clock::{SharedClock, SystemClock, SystemEntropy};
use wanwu_events::{Consumers, Relay};
use wanwu_grpc::{Server, Tls};
use wanwu_ids::{AccountId, Ids};
use wanwu_personal::KeyProvider;
use wanwu_postgres::{requests::BodyKey, residency};
use wanwu_proto::{
    billing::v1::{
        balance_service_server::BalanceServiceServer, lease_service_server::LeaseServiceServer,
        order_service_server::OrderServiceServer,
        payment_callback_service_server::PaymentCallbackServiceServer,
        price_service_server::PriceServiceServer,
    },
    inference::v1::UsageRecorded,
    operations::v1::dead_letter_service_server::DeadLetterServiceServer,
};
use wanwu_service::Shell;
use wanwu_watch::WatchedStanding;

use crate::{
    config::Config,
    error::Error,
    events::SettleRecordedUsage,
    grpc::Handlers,
    providers::wechat_pay::WechatPay,
    store::{leases, recalls},
};

/// How often unpaid orders are looked at.
const LOOK_AT_ORDERS: Duration = Duration::from_secs(1);
/// How often recalls of other replicas are looked at.
const LOOK_AT_RECALLS: Duration = Duration::from_millis(50);
/// How often the ledger is recomputed for the alert.
const AUDIT: Duration = Duration::from_secs(30);
/// Recalls that a slow watcher may be behind.
const RECALLS: usize = 1024;

/// The service: what every command works with.
pub struct App {
    pub(crate) pool: PgPool,
    pub(crate) clock: SharedClock,
    pub(crate) ids: Ids,
    pub(crate) body_key: BodyKey,
    pub(crate) wechat: Arc<WechatPay>,
    /// Told when credit became free here.
    pub(crate) freed: Notify,
    /// Accounts whose idle leases are wanted back.
    pub(crate) recalls: broadcast::Sender<AccountId>,
    pub(crate) stopping: CancellationToken,
}

impl App {
    /// The service without its server, on a database; for tests.
    #[must_use]
    pub fn new(pool: PgPool, clock: SharedClock, ids: Ids, wechat: Arc<WechatPay>) -> Self {
        Self {
            pool,
            clock,
            ids,
            body_key: BodyKey::new(&[7; 32]),
            wechat,
            freed: Notify::new(),
            recalls: broadcast::channel(RECALLS).0,
            stopping: CancellationToken::new(),
        }
    }

    /// Builds the service and starts its tasks.
    pub async fn start(config: Config, shell: &Shell) -> anyhow::Result<()> {
        let tls = Tls::load(&config.tls)?;
        shell.spawn_infallible("tls", tls.clone().reload(shell.stopping()));
        let pool = wanwu_postgres::connect(&config.database, "billing").await?;
        residency::check(&mut *pool.acquire().await?, &config.service.region).await?;
        let keys = KeyProvider::from_file(&config.keys.file)?;
        let standing = WatchedStanding::new(config.peers.channel("identity", &tls)?);
        shell.spawn_infallible("standing", standing.clone().run(shell.stopping()));

        let clock: SharedClock = Arc::new(SystemClock);
        let api_v3_key = config.wechat_pay.key()?;
        let entropy = Arc::new(SystemEntropy::default());
        let wechat = WechatPay::new(
            config.wechat_pay.clone(),
            api_v3_key,
            clock.clone(),
            entropy,
        )?;
        let mut app = Self::new(pool.clone(), clock.clone(), Ids::system(), wechat);
        app.body_key = BodyKey::new(&keys.secret("billing.requests")[..]);
        app.stopping = shell.stopping();
        let app = Arc::new(app);
        app.publish_price_lists(&config.prices.folder).await?;

        let relay = Relay::new(pool.clone(), config.broker.clone(), "billing");
        shell.spawn_infallible("relay", relay.run(shell.stopping()));
        let consumers = Consumers::new(pool, config.broker.clone(), "billing", clock)
            .on::<UsageRecorded, _>(SettleRecordedUsage(Arc::clone(&app)));
        let dead_letters = consumers.dead_letters();
        shell.spawn_infallible("consumers", consumers.run(shell.stopping()));
        app.start_looking(shell);

        let handlers = Handlers(app);
        let routes = Routes::new(PriceServiceServer::new(handlers.clone()))
            .add_service(OrderServiceServer::new(handlers.clone()))
            .add_service(PaymentCallbackServiceServer::new(handlers.clone()))
            .add_service(BalanceServiceServer::new(handlers.clone()))
            .add_service(LeaseServiceServer::new(handlers))
            .add_service(DeadLetterServiceServer::new(dead_letters));
        let access = AccessLayer::of_contracts(Some(Arc::new(standing)));
        let server = Server::bind(&config.grpc, &tls).await?;
        shell.spawn(
            "grpc",
            server.run(routes, access, shell.draining(), shell.stopping()),
        );
        Ok(())
    }

    fn start_looking(self: &Arc<Self>, shell: &Shell) {
        let (app, stop) = (Arc::clone(self), shell.stopping());
        shell.spawn_infallible("unpaid orders", async move {
            every(LOOK_AT_ORDERS, &stop, "unpaid orders", || {
                app.query_unpaid_orders()
            })
            .await;
        });
        let (app, stop) = (Arc::clone(self), shell.stopping());
        shell.spawn_infallible("recalls", async move {
            let mut since = app.clock.now();
            while stop
                .run_until_cancelled(tokio::time::sleep(LOOK_AT_RECALLS))
                .await
                .is_some()
            {
                // Away: who waits for credit is refused, and the next look finds what is new.
                let Ok(wanted) = recalls::since(&app.pool, since).await else {
                    continue;
                };
                for (account_id, at) in wanted {
                    since = since.max(at + chrono::TimeDelta::microseconds(1));
                    let _ = app.recalls.send(account_id);
                }
            }
        });
        let (app, stop) = (Arc::clone(self), shell.stopping());
        shell.spawn_infallible("audit", async move {
            every(AUDIT, &stop, "the ledger", || app.measure()).await;
        });
    }

    /// Sets the gauges that the alerts look at.
    async fn measure(&self) -> Result<(), Error> {
        let audit = self.audit_ledger().await?;
        let wrong = audit.unbalanced_transfers + audit.wrong_balances;
        let wrong = if audit.entries_sum == "0" {
            wrong
        } else {
            wrong.max(1)
        };
        metrics::gauge!("wanwu_ledger_imbalance").set(i32::try_from(wrong).unwrap_or(i32::MAX));
        let mut connection = self.pool.acquire().await?;
        let age = leases::oldest_unsettled(&mut connection, self.clock.now()).await?;
        metrics::gauge!("wanwu_leases_unsettled_oldest_seconds").set(age);
        Ok(())
    }
}

/// Does something again and again until stopped; says once when it begins to fail.
async fn every<T, F: Future<Output = Result<T, Error>>>(
    pause: Duration,
    stop: &CancellationToken,
    what: &'static str,
    work: impl Fn() -> F,
) {
    let mut failing = false;
    while stop
        .run_until_cancelled(tokio::time::sleep(pause))
        .await
        .is_some()
    {
        match work().await {
            Ok(_) => failing = false,
            Err(error) => {
                if !failing {
                    let error: &dyn std::error::Error = &error;
                    tracing::warn!(error, what, "cannot be looked at");
                }
                failing = true;
            }
        }
    }
}
