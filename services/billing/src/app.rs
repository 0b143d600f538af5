use std::{collections::HashMap, sync::Arc};

use chrono::{DateTime, Duration, SubsecRound, Utc};
use futures::{FutureExt, future::BoxFuture};
use parking_lot::RwLock;
use sqlx::PgPool;
use tokio::sync::{Notify, broadcast};
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use wanwu_access::AccessLayer;
use wanwu_clock::{SharedClock, SharedEntropy, SystemClock, SystemEntropy};
use wanwu_events::{Consumers, Relay};
use wanwu_grpc::{Server, Tls};
use wanwu_ids::{AccountId, Ids};
use wanwu_personal::KeyProvider;
use wanwu_postgres::{requests::BodyKey, residency};
use wanwu_proto::{
    billing::v1::{
        after_sales_service_server::AfterSalesServiceServer,
        balance_service_server::BalanceServiceServer,
        bank_transfer_service_server::BankTransferServiceServer,
        brand_service_server::BrandServiceServer, budget_service_server::BudgetServiceServer,
        credit_limit_service_server::CreditLimitServiceServer,
        invoice_service_server::InvoiceServiceServer, lease_service_server::LeaseServiceServer,
        money_service_server::MoneyServiceServer, order_service_server::OrderServiceServer,
        package_service_server::PackageServiceServer,
        payment_callback_service_server::PaymentCallbackServiceServer,
        price_service_server::PriceServiceServer, product_service_server::ProductServiceServer,
        reconciliation_service_server::ReconciliationServiceServer,
        refund_service_server::RefundServiceServer,
        statement_service_server::StatementServiceServer,
        termination_service_server::TerminationServiceServer,
        usage_service_server::UsageServiceServer,
    },
    inference::v1::UsageRecorded,
    operations::v1::dead_letter_service_server::DeadLetterServiceServer,
    privacy::v1::{AgreementPublished, PurchaseAllowanceChanged},
};
use wanwu_service::Shell;
use wanwu_watch::WatchedStanding;

use crate::{
    auditor::Auditor,
    background,
    bank_desk::BankDesk,
    config::Config,
    domain::{package::Product, price::PriceList},
    events::{KeepAgreement, KeepAllowance, SettleRecordedUsage},
    grpc::{
        AfterSalesHandlers, BankHandlers, BrandHandlers, Handlers, InvoiceHandlers,
        ProductHandlers, StatementHandlers,
    },
    order_desk::OrderDesk,
    providers::{Providers, alipay::Alipay, wechat_pay::WechatPay},
    statement_desk::StatementDesk,
};

/// Idle leases of an account are wanted back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recall {
    /// Whose.
    pub account_id: AccountId,
    /// A budget or a package changed: which lease pays for which call is to be asked anew.
    pub forget: bool,
}

/// Recalls that a slow watcher may be behind.
const RECALLS: usize = 1024;

/// The service: what every command works with.
pub struct App {
    pub(crate) pool: PgPool,
    pub(crate) clock: SharedClock,
    pub(crate) ids: Ids,
    pub(crate) body_key: BodyKey,
    pub(crate) providers: Providers,
    /// Told when credit became free here.
    pub(crate) freed: Notify,
    /// Accounts whose idle leases are wanted back.
    pub(crate) recalls: broadcast::Sender<Recall>,
    /// What packages can be had.
    pub(crate) products: RwLock<Vec<Product>>,
    /// Published lists by version; they never change.
    pub(crate) price_lists: RwLock<HashMap<i32, Arc<PriceList>>>,
    /// How long before its start a price list is published at the latest.
    pub(crate) price_notice: Duration,
    pub(crate) stopping: CancellationToken,
}

impl App {
    /// The service without its server and tasks.
    #[must_use]
    pub fn new(
        pool: PgPool,
        clock: SharedClock,
        ids: Ids,
        body_key: BodyKey,
        providers: Providers,
        stopping: CancellationToken,
    ) -> Self {
        Self {
            pool,
            clock,
            ids,
            body_key,
            providers,
            freed: Notify::new(),
            recalls: broadcast::channel(RECALLS).0,
            products: RwLock::default(),
            price_lists: RwLock::default(),
            price_notice: Duration::days(7),
            stopping,
        }
    }

    /// With another notice of price lists than seven days.
    #[must_use]
    pub const fn with_price_notice(mut self, notice: Duration) -> Self {
        self.price_notice = notice;
        self
    }

    /// Where payments are made.
    #[must_use]
    pub const fn providers(&self) -> &Providers {
        &self.providers
    }

    /// The time, as the database keeps it: what is answered at once equals what is read later.
    #[must_use]
    pub fn now(&self) -> DateTime<Utc> {
        self.clock.now().trunc_subsecs(6)
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
        let pool = wanwu_postgres::connect(&config.database, "billing").await?;
        residency::check(&mut *pool.acquire().await?, &config.service.region).await?;
        let keys = Arc::new(KeyProvider::from_file(&config.keys.file)?);
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
        let alipay = match config.alipay.is_used() {
            true => Some(Alipay::new(config.alipay.clone(), clock.clone())?),
            false => None,
        };
        let app = Self::new(
            pool.clone(),
            clock.clone(),
            Ids::system(),
            BodyKey::new(&keys.secret("billing.requests")[..]),
            Providers { wechat, alipay },
            shell.stopping(),
        );
        let notice = Duration::from_std(config.prices.notice)?;
        let app = Arc::new(app.with_price_notice(notice));
        app.publish_price_lists(&config.prices.folder).await?;
        if !config.products.folder.as_os_str().is_empty() {
            app.publish_catalogues(&config.products.folder).await?;
        }
        app.publish_packages(&config.packages.file).await?;

        let statements =
            StatementDesk::new(pool.clone(), clock.clone(), StatementDesk::keys(&keys));
        let statements = Arc::new(statements);
        let (making, stop) = (Arc::clone(&statements), shell.stopping());
        shell.spawn_infallible("statements", async move { making.run(stop).await });
        let auditor = Auditor::new(pool.clone(), clock.clone(), Auditor::keys(&keys));
        shell.spawn_infallible("auditor", auditor.run(shell.stopping()));
        let relay = Relay::new(pool.clone(), config.broker.clone(), "billing");
        shell.spawn_infallible("relay", relay.run(shell.stopping()));
        let consumers = Consumers::new(pool, config.broker.clone(), "billing", clock)
            .on::<UsageRecorded, _>(SettleRecordedUsage(Arc::clone(&app)))
            .on::<AgreementPublished, _>(KeepAgreement)
            .on::<PurchaseAllowanceChanged, _>(KeepAllowance);
        let dead_letters = consumers.dead_letters();
        shell.spawn_infallible("consumers", consumers.run(shell.stopping()));
        background::start(&app, shell);

        let entropy = Arc::new(SystemEntropy::default());
        let pool = app.pool.clone();
        let orders = OrderDesk::new(
            Arc::clone(&app),
            pool.clone(),
            Arc::clone(&keys),
            Arc::clone(&entropy) as SharedEntropy,
        );
        let orders = Arc::new(orders);
        let bank = Arc::new(BankDesk::new(Arc::clone(&app), pool, keys, entropy));
        background::match_bank_lines(&bank, shell);
        let handlers = Handlers(app);
        let routes = Routes::new(PriceServiceServer::new(handlers.clone()))
            .add_service(OrderServiceServer::new(handlers.clone()))
            .add_service(PaymentCallbackServiceServer::new(handlers.clone()))
            .add_service(RefundServiceServer::new(handlers.clone()))
            .add_service(BalanceServiceServer::new(handlers.clone()))
            .add_service(BankTransferServiceServer::new(BankHandlers(bank)))
            .add_service(ReconciliationServiceServer::new(handlers.clone()))
            .add_service(TerminationServiceServer::new(handlers.clone()))
            .add_service(CreditLimitServiceServer::new(handlers.clone()))
            .add_service(MoneyServiceServer::new(handlers.clone()))
            .add_service(InvoiceServiceServer::new(InvoiceHandlers(Arc::clone(
                &orders,
            ))))
            .add_service(ProductServiceServer::new(ProductHandlers(Arc::clone(
                &orders,
            ))))
            .add_service(BrandServiceServer::new(BrandHandlers(Arc::clone(&orders))))
            .add_service(AfterSalesServiceServer::new(AfterSalesHandlers(orders)))
            .add_service(BudgetServiceServer::new(handlers.clone()))
            .add_service(PackageServiceServer::new(handlers.clone()))
            .add_service(UsageServiceServer::new(handlers.clone()))
            .add_service(StatementServiceServer::new(StatementHandlers(statements)))
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
}
