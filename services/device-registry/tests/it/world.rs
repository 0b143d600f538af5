use std::sync::Arc;

use device_registry::{
    app::{App, Parts},
    grpc::Handlers,
};
use sqlx::{PgPool, postgres::PgPoolOptions};
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::{Request, Status};
use tonic_types::StatusExt;
use wanwu_access::{Caller, Subject};
use wanwu_clock::{SystemEntropy, TestClock};
use wanwu_ids::{AccountId, AppId, Ids};
use wanwu_personal::KeyProvider;
use wanwu_proto::device::v1::{
    DeviceGate, DeviceIdentifierKind, GetDeviceGateRequest, RegisterDeviceRequest,
    RegisterDeviceResponse, device_gate_service_server::DeviceGateService,
    device_service_server::DeviceService,
};
use wanwu_testkit::test_clock;

use crate::identity::Identity;

pub const OAID: &str = "1f3a5b7c-9d0e-4f21-8a6b-c2d4e6f80912";
pub const ANDROID_ID: &str = "a1b2c3d4e5f60718";
/// Devices that an app may have here.
pub const MAX_DEVICES: i64 = 3;
const KEYS: &str = r#"{"active": "k1",
    "keys": {"k1": "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE="}}"#;

/// Device-registry at a time that the test moves.
pub struct World {
    pub api: Handlers,
    pub clock: TestClock,
    pub ids: Ids,
    pub pool: PgPool,
    pub identity: Identity,
    _stop: DropGuard,
}

/// `NAME` of the error.
pub fn reason(status: &Status) -> String {
    let details = status.get_error_details();
    let info = details.error_info();
    info.map(|info| info.reason.clone()).unwrap_or_default()
}

impl World {
    pub async fn new(pool: PgPool) -> Self {
        // A second installation is refused, and the first is the same.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let stop = CancellationToken::new();
        let clock = test_clock();
        let (identity, channel) = Identity::start(&stop).await;
        let options = PgPoolOptions::new().max_connections(8);
        let pool = options.connect_lazy_with(pool.connect_options().as_ref().clone());
        let app = Arc::new(App::new(Parts {
            pool: pool.clone(),
            clock: Arc::new(clock.clone()),
            entropy: Arc::new(SystemEntropy::default()),
            keys: KeyProvider::from_json(KEYS).unwrap(),
            identity: channel,
            max_devices: MAX_DEVICES,
            stop: stop.clone(),
        }));
        tokio::spawn(Arc::clone(&app).tell_gates(stop.clone()));
        Self {
            api: Handlers(app),
            ids: Ids::new(Arc::new(clock.clone()), Arc::new(SystemEntropy::default())),
            clock,
            pool,
            identity,
            _stop: stop.drop_guard(),
        }
    }

    fn request<T>(&self, subject: Subject, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.extensions_mut().insert(Caller {
            subject,
            request_id: "r".to_owned(),
            mainland: true,
            address_key: String::new(),
        });
        request
    }

    /// A request of a person who is signed in.
    pub fn by<T>(&self, account_id: AccountId, message: T) -> Request<T> {
        let session_id = self.ids.id();
        let subject = Subject::Account {
            account_id,
            session_id,
        };
        self.request(subject, message)
    }

    /// An app and its owner.
    pub fn owned_app(&self) -> (AccountId, AppId) {
        let (account_id, app_id) = (self.ids.id(), self.ids.id());
        self.identity.owns(account_id, app_id);
        (account_id, app_id)
    }

    /// An app registers a device by its key.
    pub async fn register(
        &self,
        app_id: AppId,
        kind: DeviceIdentifierKind,
        identifier: &str,
    ) -> Result<RegisterDeviceResponse, Status> {
        let subject = Subject::AppKey {
            account_id: self.ids.id(),
            app_id,
            key_id: self.ids.id(),
            scopes: vec!["chat".to_owned()],
        };
        let request = RegisterDeviceRequest {
            kind: kind.into(),
            identifier: identifier.to_owned(),
        };
        let answer = self
            .api
            .register_device(self.request(subject, request))
            .await?;
        Ok(answer.into_inner())
    }

    /// What routers know of a device or an app.
    pub async fn gate(&self, id: &str) -> DeviceGate {
        let gate_id = id.to_owned();
        let request = Request::new(GetDeviceGateRequest { gate_id });
        let answer = self.api.get_device_gate(request).await.unwrap();
        answer.into_inner().gate.unwrap()
    }
}
