use std::{sync::Arc, time::Duration};

use sqlx::{PgPool, postgres::PgPoolOptions};
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::{Request, Status};
use tonic_types::StatusExt;
use verification::{
    app::{App, Parts},
    grpc::Handlers,
    providers,
};
use wanwu_access::{Caller, Subject};
use wanwu_clock::{SystemEntropy, TestClock};
use wanwu_grpc::Channel;
use wanwu_ids::{AccountId, Ids};
use wanwu_personal::KeyProvider;
use wanwu_proto::verification::v1::{
    GetRealNameGateRequest, RealNameGate, SubmitRealNameRequest, Verification, VerificationState,
    real_name_gate_service_server::RealNameGateService,
    verification_service_server::VerificationService,
};
use wanwu_testkit::test_clock;

use crate::{
    agency::{APP, Agency, SECRET},
    privacy::Privacy,
};

/// A name.
pub const NAME: &str = "王小明";
const KEYS: &str = r#"{"active": "k1",
    "keys": {"k1": "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE="}}"#;
/// How long the agency is waited for here.
const TIMEOUT: Duration = Duration::from_millis(500);

/// Verification at a time that the test moves.
pub struct World {
    pub api: Handlers,
    pub clock: TestClock,
    pub ids: Ids,
    pub pool: PgPool,
    pub agency: Agency,
    pub privacy: Privacy,
    pub stop: CancellationToken,
    channel: Channel,
    _stop: DropGuard,
}

/// A resident ID of somebody born on this day, `YYYYMMDD`, with its check character (GB 11643).
pub fn resident_id(birth: &str) -> String {
    let digits = format!("110101{birth}001");
    let weights = [7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2];
    let weighed = digits.bytes().zip(weights);
    let sum: u32 = weighed
        .map(|(digit, weight)| u32::from(digit - b'0') * weight)
        .sum();
    let check = char::from(b"10X98765432"[usize::try_from(sum % 11).unwrap()]);
    format!("{digits}{check}")
}

/// `NAME` of the error.
pub fn reason(status: &Status) -> String {
    let details = status.get_error_details();
    let info = details.error_info();
    info.map(|info| info.reason.clone()).unwrap_or_default()
}

impl World {
    pub async fn new(pool: PgPool) -> Self {
        Self::with_connections(pool, 8).await
    }

    pub async fn with_connections(pool: PgPool, connections: u32) -> Self {
        // A second installation is refused, and the first is the same.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let stop = CancellationToken::new();
        let clock = test_clock();
        let agency = Agency::start(clock.clone()).await;
        let (privacy, channel) = Privacy::start(&stop).await;
        let options = PgPoolOptions::new()
            .max_connections(connections)
            .acquire_timeout(Duration::from_secs(5));
        let pool = options.connect_lazy_with(pool.connect_options().as_ref().clone());
        Self {
            api: Handlers(Arc::new(app(&pool, &clock, &agency, &channel, &stop))),
            ids: Ids::new(Arc::new(clock.clone()), Arc::new(SystemEntropy::default())),
            clock,
            pool,
            agency,
            privacy,
            channel,
            _stop: stop.clone().drop_guard(),
            stop,
        }
    }

    pub fn app(&self) -> &Arc<App> {
        &self.api.0
    }

    /// Another process of verification on the same database.
    pub fn replica(&self) -> App {
        app(
            &self.pool,
            &self.clock,
            &self.agency,
            &self.channel,
            &self.stop,
        )
    }

    pub fn account(&self) -> AccountId {
        self.ids.id()
    }

    pub fn by<T>(&self, account_id: AccountId, message: T) -> Request<T> {
        let mut request = Request::new(message);
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

    /// What an account submits, with a consent of its own.
    pub fn submission(&self, account_id: AccountId, id_number: &str) -> SubmitRealNameRequest {
        let id = || self.ids.id::<()>().to_string();
        let (request_id, consent_id) = (id(), id());
        self.privacy.consent(&consent_id, &account_id.to_string());
        SubmitRealNameRequest {
            request_id,
            name: NAME.to_owned(),
            resident_id: id_number.to_owned(),
            consent_id,
        }
    }

    pub async fn submit(
        &self,
        account_id: AccountId,
        request: &SubmitRealNameRequest,
    ) -> Result<Verification, Status> {
        let request = self.by(account_id, request.clone());
        let answer = self.api.submit_real_name(request).await?;
        Ok(answer.into_inner().verification.unwrap())
    }

    /// A person whom the agency knows submits, and is answered with the agency's word.
    pub async fn verified(&self, id_number: &str) -> AccountId {
        self.agency.knows(NAME, id_number);
        let account_id = self.account();
        let request = self.submission(account_id, id_number);
        let check = self.submit(account_id, &request).await.unwrap();
        assert_eq!(check.state(), VerificationState::Verified);
        account_id
    }

    pub async fn gate(&self, account_id: AccountId) -> RealNameGate {
        let account_id = account_id.to_string();
        let request = Request::new(GetRealNameGateRequest { account_id });
        let answer = self.api.get_real_name_gate(request).await.unwrap();
        answer.into_inner().gate.unwrap()
    }

    /// The events in the outbox.
    pub async fn told(&self) -> i64 {
        let count = "select count(*) from outbox
                     where type = 'wanwu.verification.v1.RealNameChanged'";
        sqlx::query_scalar(count)
            .fetch_one(&self.pool)
            .await
            .unwrap()
    }
}

fn app(
    pool: &PgPool,
    clock: &TestClock,
    agency: &Agency,
    privacy: &Channel,
    stop: &CancellationToken,
) -> App {
    let base = format!("http://{}", agency.address).parse().unwrap();
    let shared = Arc::new(clock.clone());
    let agency =
        providers::agency::Agency::new(&base, APP.to_owned(), SECRET.into(), TIMEOUT, shared);
    App::new(Parts {
        pool: pool.clone(),
        clock: Arc::new(clock.clone()),
        entropy: Arc::new(SystemEntropy::default()),
        keys: Arc::new(KeyProvider::from_json(KEYS).unwrap()),
        privacy: privacy.clone(),
        agency: agency.unwrap(),
        stop: stop.clone(),
    })
}
