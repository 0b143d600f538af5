//! What credentials are good for: held here, watched from identity.

use std::{sync::Arc, time::Duration};

use futures::{StreamExt, stream::BoxStream};
use moka::sync::Cache;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use uuid::Uuid;
use wanwu_access::Reason;
use wanwu_clock::SharedClock;
use wanwu_grpc::Channel;
use wanwu_proto::{
    access::v1::principal::Subject,
    identity::v1::{
        GetGrantRequest, Grant, WatchGrantsRequest, grant_service_client::GrantServiceClient,
    },
};
use wanwu_watch::{Holder, Source};

use crate::{
    config::CredentialsConfig,
    credential::{Credential, Kind},
};

/// The grants of credentials.
pub struct Grants {
    holder: Holder<GrantWatch>,
    /// Credentials that identity did not know a moment ago.
    unknown: Cache<Uuid, ()>,
    asks: Semaphore,
    clock: SharedClock,
}

/// Identity's grants, as a holder reaches them.
pub struct GrantWatch(GrantServiceClient<Channel>);

impl Grants {
    /// Watches identity through this channel, once it [`run`](Self::run)s.
    #[must_use]
    pub fn new(identity: Channel, config: &CredentialsConfig, clock: SharedClock) -> Self {
        let source = GrantWatch(GrantServiceClient::new(identity));
        Self {
            holder: Holder::new(source, config.capacity),
            unknown: Cache::builder()
                .max_capacity(config.unknown_capacity)
                .time_to_live(config.unknown_for)
                .build(),
            asks: Semaphore::new(config.max_asks),
            clock,
        }
    }

    /// Keeps the watch open until `stop`.
    pub fn run(&self, stop: CancellationToken) -> impl Future<Output = ()> + use<> {
        self.holder.clone().run(stop)
    }

    /// How many grants are held.
    #[must_use]
    pub fn held(&self) -> usize {
        self.holder.held()
    }

    /// The grant of a credential that is valid now.
    pub async fn check(&self, credential: &Credential<'_>) -> Result<Arc<Grant>, Reason> {
        let mut text = Uuid::encode_buffer();
        let key = &*credential.id.hyphenated().encode_lower(&mut text);
        let grant = match self.holder.fresh(key) {
            Some(grant) => grant,
            None => self.ask(credential.id, key).await?,
        };
        if self.is_good(&grant, credential) {
            Ok(grant)
        } else {
            Err(Reason::InvalidCredential)
        }
    }

    async fn ask(&self, id: Uuid, key: &str) -> Result<Arc<Grant>, Reason> {
        if self.unknown.contains_key(&id) {
            return Err(Reason::InvalidCredential);
        }
        // Made-up credentials must not become a flood of questions.
        let Ok(_place) = self.asks.try_acquire() else {
            return Err(Reason::StandingUnknown);
        };
        match self.holder.get(key).await {
            Ok(Some(grant)) => Ok(grant),
            Ok(None) => {
                self.unknown.insert(id, ());
                Err(Reason::InvalidCredential)
            }
            Err(_) => Err(Reason::StandingUnknown),
        }
    }

    fn is_good(&self, grant: &Grant, credential: &Credential<'_>) -> bool {
        let subject = grant
            .principal
            .as_ref()
            .and_then(|principal| principal.subject.as_ref());
        let kind = match subject {
            Some(Subject::AppKey(_)) => Some(Kind::Key),
            Some(Subject::Account(_)) => Some(Kind::Session),
            Some(Subject::Operator(_)) => Some(Kind::Operator),
            None => None,
        };
        credential.has_secret(&grant.secret_hash)
            && kind == Some(credential.kind)
            && !grant.revoked
            && grant.expire_time.as_ref().is_none_or(|end| {
                let now = self.clock.now();
                let now = (now.timestamp(), now.timestamp_subsec_nanos());
                now < (end.seconds, end.nanos.unsigned_abs())
            })
    }
}

impl Source for GrantWatch {
    type Item = Grant;

    async fn ask(&self, key: &str) -> Result<Grant, Status> {
        let request = GetGrantRequest {
            credential_id: key.to_owned(),
        };
        let answer = self.0.clone().get_grant(request).await?.into_inner();
        answer
            .grant
            .ok_or_else(|| Status::internal("an answer without a grant"))
    }

    async fn watch(&self) -> Result<BoxStream<'static, Result<Option<Grant>, Status>>, Status> {
        let stream = self
            .0
            .clone()
            .watch_grants(WatchGrantsRequest {})
            .await?
            .into_inner();
        Ok(stream.map(|item| item.map(|item| item.grant)).boxed())
    }
}

/// How often the number of grants held is told.
const TELL_EVERY: Duration = Duration::from_secs(5);

/// Tells how many grants are held, until `stop`.
pub async fn tell_held(grants: Arc<Grants>, stop: CancellationToken) {
    while stop
        .run_until_cancelled(tokio::time::sleep(TELL_EVERY))
        .await
        .is_some()
    {
        #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
        metrics::gauge!("edge_grants_held").set(grants.held() as f64);
    }
}
