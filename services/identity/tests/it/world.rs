use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use futures::{Stream, StreamExt, future::join_all};
use identity::{
    app::{App, Parts},
    domain::send_limits::SendLimits,
    grpc::Handlers,
    providers::alibaba_sms::{AlibabaAccess, AlibabaSms},
};
use sqlx::{PgPool, postgres::PgPoolOptions};
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::{Request, Status};
use tonic_types::StatusExt;
use wanwu_access::{Caller, OperatorRole, Subject};
use wanwu_clock::{SharedClock, SharedEntropy, SystemClock, SystemEntropy, TestClock};
use wanwu_grpc::Channel;
use wanwu_ids::{AccountId, Ids, OperatorId, SessionId};
use wanwu_personal::KeyProvider;
use wanwu_proto::identity::v1::{
    App as OwnedApp, CreateAppRequest, RegisterRequest, SendVerificationCodeRequest, SignInRequest,
    Tokens, app_service_server::AppService, session_service_server::SessionService,
};
use wanwu_testkit::test_clock;

use crate::{
    peers::{CURRENT, Peers},
    sms::Sms,
};

/// What a second's promise is measured against.
pub const WITHIN: Duration = Duration::from_secs(1);
/// A number that nobody has.
pub const PHONE: &str = "13800138000";
const KEYS: &str = r#"{"active": "k1",
    "keys": {"k1": "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE="}}"#;

/// Identity at a time that the test moves.
pub struct World {
    pub api: Handlers,
    pub clock: TestClock,
    pub ids: Ids,
    pub pool: PgPool,
    pub sms: Sms,
    pub peers: Peers,
    pub stop: CancellationToken,
    channels: (Channel, Channel),
    _stop: DropGuard,
}

/// `NAME` of the error.
pub fn reason(status: &Status) -> String {
    let details = status.get_error_details();
    let info = details.error_info();
    info.map(|info| info.reason.clone()).unwrap_or_default()
}

/// How many of these say yes, and the reasons of the others.
pub async fn race<T>(
    calls: impl IntoIterator<Item = impl Future<Output = Result<T, Status>>>,
) -> (Vec<T>, Vec<String>) {
    let (mut right, mut wrong) = (Vec::new(), Vec::new());
    for answer in join_all(calls).await {
        match answer {
            Ok(answer) => right.push(answer),
            Err(status) => wrong.push(reason(&status)),
        }
    }
    (right, wrong)
}

/// Reads a watch until an item is as wanted; answers how long that took.
pub async fn told<T>(
    stream: &mut (impl Stream<Item = Result<T, Status>> + Unpin),
    mut wanted: impl FnMut(&T) -> bool,
) -> Duration {
    let start = Instant::now();
    let reading = async {
        while let Some(item) = stream.next().await {
            if wanted(&item.unwrap()) {
                return;
            }
        }
        panic!("the watch ended");
    };
    let read = tokio::time::timeout(Duration::from_secs(10), reading).await;
    read.expect("the watch tells it");
    start.elapsed()
}

impl World {
    pub async fn new(pool: PgPool) -> Self {
        let limits = SendLimits {
            number_a_minute: 1,
            number_an_hour: 5,
            number_a_day: 10,
            address_an_hour: 1000,
            everybody_a_minute: 1000,
        };
        Self::with_limits(pool, limits).await
    }

    pub async fn with_limits(pool: PgPool, limits: SendLimits) -> Self {
        // A second installation is refused, and the first is the same.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let stop = CancellationToken::new();
        let clock = test_clock();
        let sms = Sms::start().await;
        let (peers, privacy, verification) = Peers::start(&stop).await;
        // As many connections as half a service has.
        let options = PgPoolOptions::new().max_connections(16);
        let pool = options.connect_lazy_with(pool.connect_options().as_ref().clone());
        let channels = (privacy, verification);
        let app = app(&pool, &clock, limits, &sms, &channels, &stop);
        Self {
            api: Handlers(app),
            ids: Ids::new(Arc::new(clock.clone()), Arc::new(SystemEntropy::default())),
            clock,
            pool,
            sms,
            peers,
            channels,
            _stop: stop.clone().drop_guard(),
            stop,
        }
    }

    pub fn app(&self) -> &Arc<App> {
        &self.api.0
    }

    /// Another process of identity on the same database.
    pub fn replica(&self, limits: SendLimits) -> Handlers {
        let (pool, clock, sms) = (&self.pool, &self.clock, &self.sms);
        Handlers(app(pool, clock, limits, sms, &self.channels, &self.stop))
    }

    /// Runs what a process runs, until the world ends.
    pub fn run(&self) {
        for (_, task) in self.app().tasks(&self.stop) {
            tokio::spawn(task);
        }
    }

    pub fn pass(&self, time: chrono::Duration) {
        self.clock.advance(time);
    }

    fn request<T>(&self, subject: Subject, address_key: &str, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.extensions_mut().insert(Caller {
            subject,
            request_id: "r".to_owned(),
            mainland: true,
            address_key: address_key.to_owned(),
        });
        request
    }

    /// A request of somebody at an address.
    pub fn from<T>(&self, address_key: &str, message: T) -> Request<T> {
        self.request(Subject::Nobody, address_key, message)
    }

    /// A request of a person who is signed in.
    pub fn by<T>(&self, account_id: AccountId, message: T) -> Request<T> {
        let session_id = self.ids.id();
        self.in_session(account_id, session_id, message)
    }

    pub fn in_session<T>(
        &self,
        account_id: AccountId,
        session_id: SessionId,
        message: T,
    ) -> Request<T> {
        let subject = Subject::Account {
            account_id,
            session_id,
        };
        self.request(subject, "", message)
    }

    pub fn by_operator<T>(&self, operator_id: OperatorId, message: T) -> Request<T> {
        let subject = Subject::Operator {
            operator_id,
            session_id: self.ids.id(),
            roles: vec![OperatorRole::Security],
        };
        self.request(subject, "", message)
    }

    pub fn request_id(&self) -> String {
        self.ids.id::<()>().to_string()
    }

    /// Asks for a code; answers the bytes of the answer.
    pub async fn send_code(&self, phone: &str, address_key: &str) -> Result<Vec<u8>, Status> {
        let phone = phone.to_owned();
        let request = self.from(address_key, SendVerificationCodeRequest { phone });
        let answer = self.api.send_verification_code(request).await?;
        Ok(prost::Message::encode_to_vec(&answer.into_inner()))
    }

    /// The code that a number gets now.
    pub async fn code(&self, phone: &str) -> String {
        self.send_code(phone, "").await.unwrap();
        self.sms.code(phone)
    }

    pub async fn register_with(
        &self,
        phone: &str,
        code: &str,
        versions: &[&str],
    ) -> Result<(AccountId, Tokens), Status> {
        let request = RegisterRequest {
            phone: phone.to_owned(),
            code: code.to_owned(),
            accepted_agreement_version_ids: versions.iter().map(|&id| id.to_owned()).collect(),
        };
        let answer = self
            .api
            .register(self.from("", request))
            .await?
            .into_inner();
        Ok((answer.account_id.parse().unwrap(), answer.tokens.unwrap()))
    }

    pub async fn sign_in(&self, phone: &str, code: &str) -> Result<Tokens, Status> {
        let (phone, code) = (phone.to_owned(), code.to_owned());
        let request = self.from("", SignInRequest { phone, code });
        let answer = self.api.sign_in(request).await?.into_inner();
        Ok(answer.tokens.unwrap())
    }

    /// A person who registered.
    pub async fn registered(&self, phone: &str) -> (AccountId, Tokens) {
        let code = self.code(phone).await;
        self.register_with(phone, &code, &[CURRENT]).await.unwrap()
    }

    /// An app of a person.
    pub async fn owned_app(&self, account_id: AccountId) -> OwnedApp {
        let request = CreateAppRequest {
            request_id: self.request_id(),
            name: "an app".to_owned(),
        };
        let answer = self.api.create_app(self.by(account_id, request)).await;
        answer.unwrap().into_inner().app.unwrap()
    }
}

fn app(
    pool: &PgPool,
    clock: &TestClock,
    limits: SendLimits,
    sms: &Sms,
    (privacy, verification): &(Channel, Channel),
    stop: &CancellationToken,
) -> Arc<App> {
    let entropy: SharedEntropy = Arc::new(SystemEntropy::default());
    let access = AlibabaAccess {
        base: format!("http://{}", sms.address).parse().unwrap(),
        access_key_id: "id".to_owned(),
        access_key_secret: "secret".into(),
        sign_name: "万物".to_owned(),
    };
    let own: SharedClock = Arc::new(clock.clone());
    let templates = ["verification_code", "order_paid"];
    App::new(Parts {
        pool: pool.clone(),
        clock: own,
        keys: Arc::new(KeyProvider::from_json(KEYS).unwrap()),
        limits,
        sms: AlibabaSms::new(access, Arc::new(SystemClock), Arc::clone(&entropy)).unwrap(),
        templates: HashMap::from(templates.map(|name| (name.to_owned(), format!("SMS_{name}")))),
        privacy: privacy.clone(),
        verification: verification.clone(),
        entropy,
        stop: stop.clone(),
    })
}
