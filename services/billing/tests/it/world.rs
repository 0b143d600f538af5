use std::{path::Path, sync::Arc};

use billing::{
    app::App, events::SettleRecordedUsage, grpc::Handlers, order_desk::OrderDesk,
    providers::Providers,
};
use chrono::Duration;
use serde_json::Value;
use sqlx::{PgPool, postgres::PgPoolOptions};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Status};
use tonic_types::StatusExt;
use wanwu_access::{Caller, Subject};
use wanwu_clock::{Clock, SharedClock, SystemEntropy, TestClock};
use wanwu_events::{Handler, HandlerError};
use wanwu_ids::{AccountId, AppId, EpochId, Ids, KeyId, OperatorId};
use wanwu_personal::KeyProvider;
use wanwu_postgres::requests::BodyKey;
use wanwu_proto::{
    access::v1::OperatorRole,
    billing::v1::{
        AcquireLeaseRequest, AddPaymentChannelRequest, CloseLeaseRequest, CreateTopUpOrderRequest,
        GetBalanceRequest, GetOrderRequest, Lease, Order, OrderState, PaymentProvider,
        ReceiveAlipayCallbackRequest, ReduceLeaseRequest, balance_service_server::BalanceService,
        lease_service_server::LeaseService, order_service_server::OrderService,
        payment_callback_service_server::PaymentCallbackService,
    },
    google::r#type::Money,
    identity::v1::{AgeBand, Standing},
    inference::v1::UsageRecorded,
};
use wanwu_testkit::test_clock;

use crate::{
    alipay::Alipay,
    notices::{Draft, handed},
    wechat_pay::WechatPay,
};

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

    pub fn epoch(&self) -> EpochId {
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

    pub fn order_request(&self, fen: i64) -> CreateTopUpOrderRequest {
        CreateTopUpOrderRequest {
            request_id: self.ids.id::<()>().to_string(),
            amount: Some(Money {
                currency_code: "CNY".to_owned(),
                units: fen / 100,
                nanos: i32::try_from(fen % 100 * 10_000_000).unwrap(),
            }),
            provider: PaymentProvider::WechatNative.into(),
            ..CreateTopUpOrderRequest::default()
        }
    }

    pub async fn create_order(
        &self,
        account: AccountId,
        request: &CreateTopUpOrderRequest,
    ) -> Result<Order, Status> {
        let request = self.by(account, request.clone());
        let answer = self.api.create_top_up_order(request).await?;
        Ok(answer.into_inner().order.unwrap())
    }

    /// An order that waits for its payer, and its number at the provider.
    pub async fn order(&self, account: AccountId, fen: i64) -> (Order, String) {
        let request = self.order_request(fen);
        let order = self.create_order(account, &request).await.unwrap();
        assert_eq!(order.state(), OrderState::AwaitingPayment);
        let number = order.order_id.replace('-', "");
        (order, number)
    }

    pub async fn order_state(&self, account: AccountId, order: &Order) -> OrderState {
        let order_id = order.order_id.clone();
        let request = self.by(account, GetOrderRequest { order_id });
        let order = self.api.get_order(request).await.unwrap().into_inner();
        order.order.unwrap().state()
    }

    /// The order offered through Alipay too.
    pub async fn offer_at_alipay(&self, account: AccountId, order: &Order) -> Order {
        let request = AddPaymentChannelRequest {
            order_id: order.order_id.clone(),
            provider: PaymentProvider::AlipayPrecreate.into(),
            payer: None,
        };
        let answer = self
            .api
            .add_payment_channel(self.by(account, request))
            .await;
        answer.unwrap().into_inner().order.unwrap()
    }

    /// Time passes, and what is due is done.
    pub async fn later(&self, by: Duration) {
        self.clock.advance(by);
        self.app().query_unpaid_orders().await.unwrap();
        self.app().send_refunds().await.unwrap();
    }

    /// What a customer gets back and has not yet, in 10^-9 CNY.
    pub async fn refund_due(&self, account: AccountId) -> i64 {
        let sql = "select coalesce(sum(balance_nanos), 0)::bigint from ledger_accounts
                   where kind = 'refund_due' and account_id = $1";
        let due = sqlx::query_scalar(sql).bind(account).fetch_one(&self.pool);
        due.await.unwrap()
    }

    /// What a notice of Alipay is answered with.
    pub async fn notify_alipay(&self, body: Vec<u8>) -> (i32, Vec<u8>) {
        let request = Request::new(ReceiveAlipayCallbackRequest { body });
        let answer = self.api.receive_alipay_callback(request).await;
        let answer = answer.unwrap().into_inner();
        (answer.http_status, answer.body)
    }

    /// The status that a notice about a transaction is answered with.
    pub async fn notify(&self, transaction: Value) -> i32 {
        let notice = Draft::new(transaction, self.clock.now()).sign(&self.wechat.platform);
        let answer = self.api.receive_we_chat_pay_callback(handed(&notice)).await;
        answer.unwrap().into_inner().http_status
    }

    /// An account that topped up.
    pub async fn customer(&self, fen: i64) -> AccountId {
        let account = self.account();
        let (_, number) = self.order(account, fen).await;
        assert_eq!(self.notify(self.wechat.pay(&number)).await, 204);
        account
    }

    /// Available and leased, in 10^-9 CNY.
    pub async fn balance(&self, account: AccountId) -> (i64, i64) {
        let request = self.by(account, GetBalanceRequest {});
        let balance = self.api.get_balance(request).await.unwrap().into_inner();
        (nanos(balance.available), nanos(balance.leased))
    }

    pub fn lease_request(
        &self,
        account: AccountId,
        epoch: EpochId,
        min: i64,
        want: i64,
    ) -> AcquireLeaseRequest {
        AcquireLeaseRequest {
            lease_id: self.ids.id::<()>().to_string(),
            account_id: account.to_string(),
            epoch_id: epoch.to_string(),
            min_nanos: min,
            want_nanos: want,
            ..AcquireLeaseRequest::default()
        }
    }

    pub async fn acquire(&self, request: &AcquireLeaseRequest) -> Result<Lease, Status> {
        let answer = self
            .api
            .acquire_lease(Request::new(request.clone()))
            .await?;
        let answer = answer.into_inner();
        assert_eq!(answer.price_list.unwrap().version, 1);
        Ok(answer.lease.unwrap())
    }

    /// A request for a call of this app and key, and of the model `scripted`.
    pub fn lease_request_of(
        &self,
        account: AccountId,
        epoch: EpochId,
        (app, key): (AppId, KeyId),
        (min, want): (i64, i64),
    ) -> AcquireLeaseRequest {
        AcquireLeaseRequest {
            app_id: app.to_string(),
            key_id: key.to_string(),
            model: "scripted".to_owned(),
            ..self.lease_request(account, epoch, min, want)
        }
    }

    /// A lease of exactly so much.
    pub async fn lease(&self, account: AccountId, epoch: EpochId, amount: i64) -> Lease {
        let request = self.lease_request(account, epoch, amount, amount);
        self.acquire(&request).await.unwrap()
    }

    pub async fn close(&self, lease: &Lease, calls: i64, sum: i64) -> Result<bool, Status> {
        let request = CloseLeaseRequest {
            lease_id: lease.lease_id.clone(),
            epoch_id: lease.epoch_id.clone(),
            calls,
            sum_nanos: sum,
        };
        let answer = self.api.close_lease(Request::new(request)).await?;
        Ok(answer.into_inner().freed)
    }

    pub async fn reduce(&self, lease: &Lease, worth: i64) -> Result<(), Status> {
        let request = ReduceLeaseRequest {
            lease_id: lease.lease_id.clone(),
            epoch_id: lease.epoch_id.clone(),
            amount_nanos: worth,
        };
        self.api.reduce_lease(Request::new(request)).await.map(drop)
    }

    /// What the router tells of a call of the model `scripted`.
    pub fn usage(&self, lease: &Lease, input: i64, output: i64) -> UsageRecorded {
        let id = || self.ids.id::<()>().to_string();
        UsageRecorded {
            call_id: id(),
            lease_id: lease.lease_id.clone(),
            account_id: lease.account_id.clone(),
            app_id: id(),
            key_id: id(),
            model: "scripted".to_owned(),
            input_tokens: input,
            output_tokens: output,
            price_version: 1,
            amount_nanos: input * PRICES.0 + output * PRICES.1,
            usage_source: "engine".to_owned(),
            ..UsageRecorded::default()
        }
    }

    /// As the consumer does: the effect in a transaction, which commits when there is no error.
    pub async fn settle(&self, event: &UsageRecorded) -> Result<(), HandlerError> {
        let handler = SettleRecordedUsage(Arc::clone(self.app()));
        let mut tx = self.pool.begin().await?;
        handler.handle(&mut tx, event.clone()).await?;
        Ok(tx.commit().await?)
    }

    /// Billing hears an event.
    pub async fn hear<E>(&self, handler: impl Handler<E>, event: E) {
        let mut tx = self.pool.begin().await.unwrap();
        handler.handle(&mut tx, event).await.unwrap();
        tx.commit().await.unwrap();
    }

    /// As [`World::settle`] for many in one transaction.
    pub async fn settle_all(&self, events: &[UsageRecorded]) -> Result<(), HandlerError> {
        let handler = SettleRecordedUsage(Arc::clone(self.app()));
        let mut tx = self.pool.begin().await?;
        handler.handle_all(&mut tx, events.to_vec()).await?;
        Ok(tx.commit().await?)
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
