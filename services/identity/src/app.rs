//! The parts put together.

use std::{collections::HashMap, sync::Arc};

use aws_lc_rs::hmac;
use parking_lot::Mutex;
use sqlx::PgPool;
use tokio::{sync::Semaphore, time::Instant};
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use wanwu_access::AccessLayer;
use wanwu_clock::{SharedClock, SharedEntropy};
use wanwu_events::{BrokerConfig, Consumers};
use wanwu_grpc::Channel;
use wanwu_ids::Ids;
use wanwu_personal::{BlindIndex, KeyProvider, SubjectKeys};
use wanwu_postgres::requests::BodyKey;
use wanwu_proto::{
    identity::v1::{
        Grant, NotificationRequested, Standing,
        account_code_service_server::AccountCodeServiceServer,
        api_key_service_server::ApiKeyServiceServer, app_service_server::AppServiceServer,
        grant_service_server::GrantServiceServer, operator_service_server::OperatorServiceServer,
        session_service_server::SessionServiceServer,
        standing_service_server::StandingServiceServer,
    },
    privacy::v1::{ConsentChanged, privacy_gate_service_client::PrivacyGateServiceClient},
    verification::v1::{RealNameChanged, real_name_gate_service_client::RealNameGateServiceClient},
};
use wanwu_watch::{Feed, Holder, SOURCE_FRESH_FOR};

use crate::{
    domain::send_limits::SendLimits,
    events::{NoteRequestedNotification, RepairConsent, RepairRealName},
    gates::{Privacy, PrivacyGates, RealNameGates},
    grpc::Handlers,
    own_standing::OwnStanding,
    providers::alibaba_sms::AlibabaSms,
};

/// The service's name.
pub const NAME: &str = "identity";

/// Gates of so many accounts are held in memory.
const HELD: usize = 200_000;
/// Passwords that are hashed at the same time: each takes 19 MiB and a processor.
const HASHES: usize = 2;

/// What the service is made of.
pub struct Parts {
    /// The database.
    pub pool: PgPool,
    /// Tells the time.
    pub clock: SharedClock,
    /// Where codes, secrets and ids come from.
    pub entropy: SharedEntropy,
    /// The keys from outside the database.
    pub keys: Arc<KeyProvider>,
    /// How many codes are sent.
    pub limits: SendLimits,
    /// Sends messages.
    pub sms: AlibabaSms,
    /// Codes of the provider's templates by our names.
    pub templates: HashMap<String, String>,
    /// privacy.
    pub privacy: Channel,
    /// verification.
    pub verification: Channel,
    /// Ends the watches that others hold.
    pub stop: CancellationToken,
}

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
    pub(crate) hashes: Semaphore,
    pub(crate) privacy: Privacy,
    pub(crate) privacy_gates: Holder<PrivacyGates>,
    pub(crate) real_name_gates: Holder<RealNameGates>,
    pub(crate) grants_feed: Feed<Grant>,
    pub(crate) standings_feed: Feed<Standing>,
    /// When the last complete reading of changed standings began.
    pub(crate) standings_read: Arc<Mutex<Option<Instant>>>,
}

impl App {
    /// Puts the parts together; nothing runs yet.
    #[must_use]
    pub fn new(parts: Parts) -> Arc<Self> {
        let Parts {
            pool,
            clock,
            entropy,
            keys,
            limits,
            sms,
            templates,
            privacy,
            verification,
            stop,
        } = parts;
        let privacy_gates = PrivacyGates(PrivacyGateServiceClient::new(privacy.clone()));
        let privacy_gates = Holder::new(privacy_gates, HELD);
        let real_name_gates = RealNameGates(RealNameGateServiceClient::new(verification));
        let real_name_gates = Holder::new(real_name_gates, HELD);
        let standings_read: Arc<Mutex<Option<Instant>>> = Arc::default();
        // What is told to others is current only while everything that it is made from is.
        let is_fresh = {
            let (privacy, real_name) = (privacy_gates.clone(), real_name_gates.clone());
            let read = Arc::clone(&standings_read);
            move || {
                let own = read
                    .lock()
                    .is_some_and(|at| at.elapsed() < SOURCE_FRESH_FOR);
                own && privacy.is_fresh() && real_name.is_fresh()
            }
        };
        Arc::new(Self {
            body_key: BodyKey::new(&keys.secret("identity.requests")[..]),
            code_key: hmac::Key::new(hmac::HMAC_SHA256, &keys.secret("identity.codes")[..]),
            phones: BlindIndex::new(&keys, "identity.phone"),
            keys: SubjectKeys::new(pool.clone(), keys, Arc::clone(&entropy)),
            ids: Ids::new(Arc::clone(&clock), Arc::clone(&entropy)),
            limits,
            sms,
            templates,
            hashes: Semaphore::new(HASHES),
            privacy: Privacy(privacy),
            privacy_gates,
            real_name_gates,
            grants_feed: Feed::new(stop.clone()),
            standings_feed: Feed::composed(is_fresh, stop),
            standings_read,
            pool,
            clock,
            entropy,
        })
    }

    /// The services of the contract.
    #[must_use]
    pub fn routes(self: &Arc<Self>) -> Routes {
        let handlers = Handlers(Arc::clone(self));
        Routes::new(SessionServiceServer::new(handlers.clone()))
            .add_service(AppServiceServer::new(handlers.clone()))
            .add_service(ApiKeyServiceServer::new(handlers.clone()))
            .add_service(GrantServiceServer::new(handlers.clone()))
            .add_service(StandingServiceServer::new(handlers.clone()))
            .add_service(AccountCodeServiceServer::new(handlers.clone()))
            .add_service(OperatorServiceServer::new(handlers))
    }

    /// The access rules; gates look at this service's own tables.
    #[must_use]
    pub fn access(self: &Arc<Self>) -> AccessLayer {
        AccessLayer::of_contracts(Some(Arc::new(OwnStanding(Arc::downgrade(self)))))
    }

    /// What is done with the events of others.
    #[must_use]
    pub fn consumers(self: &Arc<Self>, broker: BrokerConfig) -> Consumers {
        Consumers::new(self.pool.clone(), broker, NAME, Arc::clone(&self.clock))
            .on::<ConsentChanged, _>(RepairConsent)
            .on::<RealNameChanged, _>(RepairRealName)
            .on::<NotificationRequested, _>(NoteRequestedNotification(Arc::clone(self)))
    }
}
