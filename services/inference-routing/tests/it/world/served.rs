//! The router behind its real server: certificates, access, metadata.

use std::{collections::HashMap, future::Future, pin::Pin, sync::Arc};

use inference_routing::grpc::routes;
use prost::Message;
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use tonic::{Request, metadata::MetadataValue};
use wanwu_access::{AccessLayer, OperatorRole, StandingSource, StandingUnknown};
use wanwu_grpc::{Channel, GrpcConfig, Peers, Server, testing::TestAuthority};
use wanwu_ids::AccountId;
use wanwu_proto::{
    access::v1::{AccountSubject, AppKeySubject, OperatorSubject, Principal, principal::Subject},
    identity::v1::{AgeBand, Standing},
    inference::v1::CreateChatCompletionRequest,
};

use super::{World, chat, id};

/// The standing of the accounts that the test names.
struct Standings(HashMap<AccountId, Standing>);

impl StandingSource for Standings {
    fn fresh(&self, account_id: AccountId) -> Option<Arc<Standing>> {
        self.0.get(&account_id).cloned().map(Arc::new)
    }

    fn ask(
        &self,
        _: AccountId,
    ) -> Pin<Box<dyn Future<Output = Result<Option<Arc<Standing>>, StandingUnknown>> + Send + '_>>
    {
        Box::pin(std::future::ready(Err(StandingUnknown)))
    }
}

/// A router behind its server.
pub struct Served {
    pub world: World,
    authority: TestAuthority,
    address: String,
    _stop: tokio_util::sync::DropGuard,
}

impl Served {
    /// Serves a router whose caller's account passes every gate, but for what `standing` changes.
    pub async fn around(world: World, standing: impl FnOnce(&mut Standing)) -> Self {
        let authority = TestAuthority::start().unwrap();
        let tls = authority.tls("inference-routing").unwrap();
        let account = world.caller.account_id;
        let mut good = Standing {
            account_id: account.to_string(),
            version: 1,
            agreements_current: true,
            core_consent: true,
            real_name_verified: true,
            age_band: AgeBand::Adult.into(),
            ..Standing::default()
        };
        standing(&mut good);
        let standings = Standings(HashMap::from([(account, good)]));
        let server = Server::bind(&GrpcConfig::default(), &tls).await.unwrap();
        let address = format!("https://{}", server.local_addr());
        let stop = CancellationToken::new();
        let access = AccessLayer::of_contracts(Some(Arc::new(standings)));
        tokio::spawn(server.run(routes(&world.app), access, stop.clone(), stop.clone()));
        Self {
            world,
            authority,
            address,
            _stop: stop.drop_guard(),
        }
    }

    /// A channel with the certificate of another service.
    pub fn channel(&self, from: &str) -> Channel {
        let peers = Peers::new([("inference-routing".to_owned(), self.address.clone())]);
        peers
            .channel("inference-routing", &self.authority.tls(from).unwrap())
            .unwrap()
    }

    /// A request of the account's app.
    pub fn of_app<T>(&self, message: T) -> Request<T> {
        let caller = self.world.caller;
        request(
            message,
            Subject::AppKey(AppKeySubject {
                account_id: caller.account_id.to_string(),
                app_id: caller.app_id.to_string(),
                key_id: caller.key_id.to_string(),
                scopes: vec!["chat".to_owned()],
            }),
        )
    }

    /// A request of a person.
    pub fn of_account<T>(&self, message: T, account: AccountId) -> Request<T> {
        let session_id = id::<()>().to_string();
        let account_id = account.to_string();
        request(
            message,
            Subject::Account(AccountSubject {
                account_id,
                session_id,
            }),
        )
    }

    /// A stream of chat that the engine answers by this script.
    pub fn chat(&self, script: Value) -> Request<CreateChatCompletionRequest> {
        let body = chat(true, script).to_string().into_bytes();
        self.of_app(CreateChatCompletionRequest {
            body: body.into(),
            ..Default::default()
        })
    }
}

/// A request of an operator of support.
pub fn of_support<T>(message: T) -> Request<T> {
    request(
        message,
        Subject::Operator(OperatorSubject {
            operator_id: id::<()>().to_string(),
            session_id: id::<()>().to_string(),
            roles: vec![OperatorRole::Support.into()],
        }),
    )
}

fn request<T>(message: T, subject: Subject) -> Request<T> {
    let principal = Principal {
        subject: Some(subject),
        request_id: id::<()>().to_string(),
        mainland: true,
        address_key: String::new(),
    };
    let mut request = Request::new(message);
    let value = MetadataValue::from_bytes(&principal.encode_to_vec());
    request
        .metadata_mut()
        .insert_bin("wanwu-principal-bin", value);
    request
}
