//! An identity whose grants and standings the test sets.

use std::{collections::HashMap, sync::Arc};

use aws_lc_rs::digest;
use futures::StreamExt;
use futures::stream::BoxStream;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, service::Routes};
use uuid::Uuid;
use wanwu_access::{OperatorRole, Principal};
use wanwu_proto::{
    access::v1::{AccountSubject, AppKeySubject, OperatorSubject, principal::Subject},
    identity::v1::{
        AgeBand, GetGrantRequest, GetGrantResponse, GetStandingRequest, GetStandingResponse, Grant,
        Standing, WatchGrantsRequest, WatchGrantsResponse, WatchStandingsRequest,
        WatchStandingsResponse,
        grant_service_server::{GrantService, GrantServiceServer},
        standing_service_server::{StandingService, StandingServiceServer},
    },
};
use wanwu_watch::Feed;

/// What identity knows.
#[derive(Clone)]
pub struct Identity {
    grants: Arc<Mutex<HashMap<String, Grant>>>,
    standings: Arc<Mutex<HashMap<String, Standing>>>,
    grant_feed: Feed<Grant>,
    standing_feed: Feed<Standing>,
    /// How often a grant was asked for.
    pub asked: Arc<Mutex<u32>>,
}

/// The secret of every credential.
pub const SECRET: &str = "c2VjcmV0-of_43";

impl Identity {
    pub fn new(stop: &CancellationToken) -> Self {
        Self {
            grants: Arc::default(),
            standings: Arc::default(),
            grant_feed: Feed::composed(|| true, stop.clone()),
            standing_feed: Feed::composed(|| true, stop.clone()),
            asked: Arc::default(),
        }
    }

    pub fn routes(&self) -> Routes {
        Routes::new(GrantServiceServer::new(self.clone()))
            .add_service(StandingServiceServer::new(self.clone()))
    }

    /// A person with a good standing; returns the token and the account.
    pub fn account(&self) -> (String, Uuid) {
        let account = Uuid::new_v4();
        self.stand(good(account));
        let subject = Subject::Account(AccountSubject {
            account_id: account.to_string(),
            session_id: Uuid::new_v4().to_string(),
        });
        (self.grant("ws", subject), account)
    }

    /// A key with these scopes; returns it and the account.
    pub fn key(&self, scopes: &[&str]) -> (String, Uuid) {
        let account = Uuid::new_v4();
        self.stand(good(account));
        let subject = Subject::AppKey(AppKeySubject {
            account_id: account.to_string(),
            app_id: Uuid::new_v4().to_string(),
            key_id: Uuid::new_v4().to_string(),
            scopes: scopes.iter().map(|&scope| scope.to_owned()).collect(),
        });
        (self.grant("wk", subject), account)
    }

    pub fn operator(&self, role: OperatorRole) -> String {
        let subject = Subject::Operator(OperatorSubject {
            operator_id: Uuid::new_v4().to_string(),
            session_id: Uuid::new_v4().to_string(),
            roles: vec![role.into()],
        });
        self.grant("wo", subject)
    }

    fn grant(&self, kind: &str, subject: Subject) -> String {
        let id = Uuid::new_v4();
        let hash = digest::digest(&digest::SHA256, SECRET.as_bytes());
        let grant = Grant {
            credential_id: id.to_string(),
            secret_hash: hash.as_ref().to_vec(),
            principal: Some(Principal {
                subject: Some(subject),
                ..Principal::default()
            }),
            version: 1,
            ..Grant::default()
        };
        self.grants
            .lock()
            .insert(grant.credential_id.clone(), grant);
        format!("{kind}-{}-{SECRET}", id.simple())
    }

    /// Changes the grant of a credential and tells it.
    pub fn change(&self, credential: &str, change: impl FnOnce(&mut Grant)) {
        let id = Uuid::try_parse(&credential[3..35]).unwrap().to_string();
        let mut grants = self.grants.lock();
        let grant = grants.get_mut(&id).unwrap();
        change(grant);
        grant.version += 1;
        self.grant_feed.publish(grant.clone());
    }

    /// Sets a standing and tells it.
    pub fn stand(&self, standing: Standing) {
        self.standings
            .lock()
            .insert(standing.account_id.clone(), standing.clone());
        self.standing_feed.publish(standing);
    }
}

/// A standing that passes every gate.
pub fn good(account: Uuid) -> Standing {
    Standing {
        account_id: account.to_string(),
        version: 1,
        agreements_current: true,
        core_consent: true,
        real_name_verified: true,
        age_band: AgeBand::Adult.into(),
        ..Standing::default()
    }
}

#[tonic::async_trait]
impl GrantService for Identity {
    type WatchGrantsStream = BoxStream<'static, Result<WatchGrantsResponse, Status>>;

    async fn get_grant(
        &self,
        request: Request<GetGrantRequest>,
    ) -> Result<Response<GetGrantResponse>, Status> {
        *self.asked.lock() += 1;
        let grant = self
            .grants
            .lock()
            .get(&request.into_inner().credential_id)
            .cloned();
        let grant = grant.ok_or_else(|| Status::not_found("no grant"))?;
        Ok(Response::new(GetGrantResponse { grant: Some(grant) }))
    }

    async fn watch_grants(
        &self,
        _request: Request<WatchGrantsRequest>,
    ) -> Result<Response<Self::WatchGrantsStream>, Status> {
        let items = self.grant_feed.subscribe();
        Ok(Response::new(
            items
                .map(|item| item.map(|grant| WatchGrantsResponse { grant }))
                .boxed(),
        ))
    }
}

#[tonic::async_trait]
impl StandingService for Identity {
    type WatchStandingsStream = BoxStream<'static, Result<WatchStandingsResponse, Status>>;

    async fn get_standing(
        &self,
        request: Request<GetStandingRequest>,
    ) -> Result<Response<GetStandingResponse>, Status> {
        let standing = self
            .standings
            .lock()
            .get(&request.into_inner().account_id)
            .cloned();
        let standing = standing.ok_or_else(|| Status::not_found("no account"))?;
        Ok(Response::new(GetStandingResponse {
            standing: Some(standing),
        }))
    }

    async fn watch_standings(
        &self,
        _request: Request<WatchStandingsRequest>,
    ) -> Result<Response<Self::WatchStandingsStream>, Status> {
        let items = self.standing_feed.subscribe();
        let items = items.map(|item| item.map(|standing| WatchStandingsResponse { standing }));
        Ok(Response::new(items.boxed()))
    }
}
