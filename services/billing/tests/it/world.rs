//! Billing and what surrounds it in these tests.

mod leases;
mod orders;
mod usage;

use std::{path::Path, sync::Arc};

use billing::{app::App, grpc::Handlers, order_desk::OrderDesk, providers::Providers};
use sqlx::{PgPool, postgres::PgPoolOptions};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Status};
use tonic_types::StatusExt;
use wanwu_access::{Caller, Subject};
use wanwu_clock::{SharedClock, SystemEntropy, TestClock};
use wanwu_events::Handler;
use wanwu_ids::{AccountId, Ids, OperatorId};
use wanwu_personal::KeyProvider;
use wanwu_postgres::requests::BodyKey;
use wanwu_proto::{
    access::v1::OperatorRole,
    billing::v1::{GetBalanceRequest, balance_service_server::BalanceService},
    google::r#type::Money,
    identity::v1::{AgeBand, Standing},
};
use wanwu_testkit::test_clock;

use crate::{alipay::Alipay, wechat_pay::WechatPay};

/// Billing with its prices published, at a time that the test moves.
pub struct World {
    pub api: Handlers,
    pub clock: TestClock,
    pub ids: Ids,
    pub pool: PgPool,
    pub wechat: WechatPay,
    pub alipay: Alipay,
}

/// One yuan, in 10^-9 CNY.
pub const YUAN: i64 = 1_000_000_000;
/// What a token of prompt and of answer of the model `scripted` cost.
pub const PRICES: (i64, i64) = (700, 1300);

pub fn price_lists() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/price-lists"))
}

/// `NAME` of the error.
pub fn reason(status: &Status) -> String {
    let details = status.get_error_details();
    details
        .error_info()
        .map(|info| info.reason.clone())
        .unwrap_or_default()
}

/// The amount in 10^-9 CNY.
pub fn nanos(money: Option<Money>) -> i64 {
    let money = money.unwrap();
    assert_eq!(money.currency_code, "CNY");
    money.units * YUAN + i64::from(money.nanos)
}

impl World {
    pub async fn new(pool: PgPool) -> Self {
        let clock = test_clock();
        let alipay = Alipay::start(clock.clone()).await;
        Self::with_alipay(pool, clock, alipay).await
    }

    pub async fn with_alipay(pool: PgPool, clock: TestClock, alipay: Alipay) -> Self {
        let wechat = WechatPay::start(clock.clone()).await;
        let ids = Ids::new(Arc::new(clock.clone()), Arc::new(SystemEntropy::default()));
        // As many connections as a service has.
        let options = PgPoolOptions::new().max_connections(16);
        let pool = options.connect_lazy_with(pool.connect_options().as_ref().clone());
        let app = app(&pool, &clock, &ids, (&wechat, &alipay));
        app.publish_price_lists(price_lists()).await.unwrap();
        Self {
            api: Handlers(app),
            clock,
            ids,
            pool,
            wechat,
            alipay,
        }
    }

    pub fn app(&self) -> &Arc<App> {
        &self.api.0
    }

    /// Another process of billing on the same database.
    pub fn replica(&self) -> Handlers {
        let providers = (&self.wechat, &self.alipay);
        Handlers(app(&self.pool, &self.clock, &self.ids, providers))
    }

    /// What holds who buys and who receives.
    pub fn order_desk(&self) -> Arc<OrderDesk> {
        let keys = KeyProvider::from_json(
            r#"{"active":"k1","keys":{"k1":"BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc="}}"#,
        );
        Arc::new(OrderDesk::new(
            Arc::clone(self.app()),
            self.pool.clone(),
            Arc::new(keys.unwrap()),
            Arc::new(SystemEntropy::default()),
        ))
    }

    /// Fen as money.
    pub fn fen(fen: i64) -> Option<Money> {
        Some(billing::domain::money::to_wire(fen * 10_000_000))
    }

    /// What billing speaks to WeChat Pay with.
    pub fn wechat_client(&self) -> Arc<billing::providers::wechat_pay::WechatPay> {
        Arc::clone(&self.app().providers().wechat)
    }

    pub fn account(&self) -> AccountId {
        self.ids.id()
    }

    /// A request of an operator who is signed in.
    pub fn by_operator<T>(&self, operator_id: OperatorId, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.extensions_mut().insert(Caller {
            subject: Subject::Operator {
                operator_id,
                session_id: self.ids.id(),
                roles: vec![OperatorRole::Finance],
            },
            request_id: "r".to_owned(),
            mainland: true,
            address_key: String::new(),
        });
        request
    }

    /// A request of an adult who is signed in.
    pub fn by<T>(&self, account_id: AccountId, message: T) -> Request<T> {
        self.by_aged(account_id, AgeBand::Adult, message)
    }

    /// A request of a person of this age who is signed in.
    pub fn by_aged<T>(&self, account_id: AccountId, age: AgeBand, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.extensions_mut().insert(Arc::new(Standing {
            account_id: account_id.to_string(),
            age_band: age.into(),
            ..Standing::default()
        }));
        request.extensions_mut().insert(Caller {
            subject: Subject::Account {
                account_id,
                session_id: self.ids.id(),
            },
            request_id: "r".to_owned(),
            mainland: true,
            address_key: String::new(),
        });
        request
    }

    /// Available and leased, in 10^-9 CNY.
    pub async fn balance(&self, account: AccountId) -> (i64, i64) {
        let request = self.by(account, GetBalanceRequest {});
        let balance = self.api.get_balance(request).await.unwrap().into_inner();
        (nanos(balance.available), nanos(balance.leased))
    }

    /// Billing hears an event.
    pub async fn hear<E>(&self, handler: impl Handler<E>, event: E) {
        let mut tx = self.pool.begin().await.unwrap();
        handler.handle(&mut tx, event).await.unwrap();
        tx.commit().await.unwrap();
    }

    /// The ledger balances, by its entries and at a glance.
    pub async fn assert_sound(&self) {
        let audit = self.app().audit_ledger().await.unwrap();
        assert_eq!(audit.wrong(), 0, "{audit:?}");
        let mut connection = self.pool.acquire().await.unwrap();
        let glance = billing::store::audit::glance(&mut connection);
        assert_eq!(glance.await.unwrap(), 0);
    }
}

fn app(
    pool: &PgPool,
    clock: &TestClock,
    ids: &Ids,
    (wechat, alipay): (&WechatPay, &Alipay),
) -> Arc<App> {
    let config = wechat.config();
    let key = config.key().unwrap();
    let time: SharedClock = Arc::new(clock.clone());
    let wechat = billing::providers::wechat_pay::WechatPay::new(
        config,
        key,
        Arc::clone(&time),
        Arc::new(SystemEntropy::default()),
    );
    let alipay = billing::providers::alipay::Alipay::new(alipay.config(), Arc::clone(&time));
    let providers = Providers {
        wechat: wechat.unwrap(),
        alipay: Some(alipay.unwrap()),
    };
    Arc::new(App::new(
        pool.clone(),
        time,
        ids.clone(),
        BodyKey::new(&[7; 32]),
        providers,
        CancellationToken::new(),
    ))
}
