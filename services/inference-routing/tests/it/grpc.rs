//! The services behind the real server: certificates, access, metadata.

use std::{collections::HashMap, future::Future, pin::Pin, sync::Arc};

use futures::StreamExt;
use inference_routing::grpc::routes;
use prost::Message;
use serde_json::{Value, json};
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Request, metadata::MetadataValue};
use tonic_types::StatusExt;
use wanwu_access::{AccessLayer, StandingSource, StandingUnknown};
use wanwu_grpc::{Channel, GrpcConfig, Peers, Server, testing::TestAuthority};
use wanwu_ids::AccountId;
use wanwu_proto::{
    access::v1::{AccountSubject, AppKeySubject, Principal, principal::Subject},
    identity::v1::{AgeBand, Standing},
    inference::v1::{
        CreateChatCompletionRequest, GetCallRequest, ListModelsRequest,
        call_service_client::CallServiceClient, chat_service_client::ChatServiceClient,
        create_chat_completion_response::Frame, model_service_client::ModelServiceClient,
    },
};

use crate::world::{World, chat, id, rows};

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
struct Served {
    world: World,
    authority: TestAuthority,
    address: String,
    _stop: tokio_util::sync::DropGuard,
}

impl Served {
    async fn start(pool: PgPool, standing: impl FnOnce(&mut Standing)) -> Self {
        let world = World::start(pool).await;
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

    fn channel(&self, from: &str) -> Channel {
        let peers = Peers::new([("inference-routing".to_owned(), self.address.clone())]);
        peers
            .channel("inference-routing", &self.authority.tls(from).unwrap())
            .unwrap()
    }

    /// A request of the account's app.
    fn of_app<T>(&self, message: T) -> Request<T> {
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
    fn of_account<T>(&self, message: T, account: AccountId) -> Request<T> {
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

    fn chat(&self, script: Value) -> Request<CreateChatCompletionRequest> {
        let body = chat(true, script).to_string().into_bytes();
        self.of_app(CreateChatCompletionRequest {
            body: body.into(),
            ..Default::default()
        })
    }
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

#[sqlx::test]
async fn an_answer_carries_its_label_in_its_metadata_at_both_ends(pool: PgPool) {
    let served = Served::start(pool.clone(), |_| {}).await;
    let mut client = ChatServiceClient::new(served.channel("edge"));
    let response = client
        .create_chat_completion(served.chat(json!({"tokens": 3})))
        .await
        .unwrap();
    let label = response
        .metadata()
        .get("wanwu-aigc")
        .unwrap()
        .to_str()
        .unwrap()
        .to_owned();
    let mut frames = response.into_inner();
    let mut chunks = Vec::new();
    let mut call_id = String::new();
    while let Some(frame) = frames.next().await {
        let frame = frame.unwrap();
        if chunks.is_empty() {
            assert!(frame.stream);
            call_id.clone_from(&frame.call_id);
        } else {
            assert!(frame.call_id.is_empty() && !frame.stream);
        }
        let Some(Frame::Data(data)) = frame.frame else {
            panic!("{frame:?}")
        };
        chunks.push(serde_json::from_slice::<Value>(&data).unwrap());
    }
    let trailers = frames.trailers().await.unwrap().unwrap();
    assert_eq!(trailers.get("wanwu-aigc").unwrap().to_str().unwrap(), label);
    let label: Value = serde_json::from_str(&label).unwrap();
    assert_eq!(
        (&label["ProduceID"], &chunks[0]["aigc"]),
        (&json!(call_id), &label)
    );
    assert_eq!(rows::ended(&pool, &call_id).await.output_tokens, 3);
}

#[sqlx::test]
async fn only_the_edge_speaks_for_an_app_and_only_for_one_in_good_standing(pool: PgPool) {
    let served = Served::start(pool, |standing| standing.suspended = true).await;
    let mut edge = ChatServiceClient::new(served.channel("edge"));
    let refused = edge
        .create_chat_completion(served.chat(json!({"tokens": 1})))
        .await
        .unwrap_err();
    assert_eq!(
        refused.get_details_error_info().unwrap().reason,
        "ACCOUNT_SUSPENDED"
    );
    let mut billing = ChatServiceClient::new(served.channel("billing"));
    let forged = billing
        .create_chat_completion(served.chat(json!({"tokens": 1})))
        .await
        .unwrap_err();
    assert_eq!(
        forged.get_details_error_info().unwrap().reason,
        "PRINCIPAL_FORGED"
    );
    assert_eq!(served.world.engine.calls(), 0);
}

#[sqlx::test]
async fn refusals_have_their_reason_and_the_field(pool: PgPool) {
    let served = Served::start(pool, |_| {}).await;
    let mut client = ChatServiceClient::new(served.channel("edge"));
    let body = br#"{"model":"test","messages":[]}"#.to_vec();
    let request = CreateChatCompletionRequest {
        body: body.into(),
        ..Default::default()
    };
    let status = client
        .create_chat_completion(served.of_app(request))
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    let details = status.get_error_details();
    assert_eq!(details.error_info().unwrap().reason, "INVALID_BODY");
    assert_eq!(
        details.bad_request().unwrap().field_violations[0].field,
        "body.messages"
    );
}

#[sqlx::test]
async fn the_catalogue_and_the_call_log_are_shown(pool: PgPool) {
    let served = Served::start(pool, |_| {}).await;
    let mut models = ModelServiceClient::new(served.channel("edge"));
    let listed = models
        .list_models(served.of_app(ListModelsRequest {}))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(listed.models[0].name, "test");
    let account = served.world.caller.account_id;
    let got = served
        .world
        .call(&chat(true, json!({"tokens": 2})))
        .await
        .unwrap();
    let mut calls = CallServiceClient::new(served.channel("edge"));
    let ask = |account| {
        served.of_account(
            GetCallRequest {
                call_id: got.call_id.clone(),
            },
            account,
        )
    };
    let call = calls
        .get_call(ask(account))
        .await
        .unwrap()
        .into_inner()
        .call
        .unwrap();
    assert_eq!((call.output_tokens, call.outcome), (2, 1));
    let another = calls.get_call(ask(id())).await.unwrap_err();
    assert_eq!(another.code(), Code::NotFound);
}

#[sqlx::test]
async fn a_client_that_hangs_up_stops_the_engine(pool: PgPool) {
    let served = Served::start(pool.clone(), |_| {}).await;
    let mut client = ChatServiceClient::new(served.channel("edge"));
    let script = json!({"tokens": 1000, "delay_ms": 20});
    let mut frames = client
        .create_chat_completion(served.chat(script))
        .await
        .unwrap()
        .into_inner();
    let call = frames.next().await.unwrap().unwrap().call_id;
    frames.next().await.unwrap().unwrap();
    drop(frames);
    let engine = &served.world.engine;
    crate::world::wait_for("the engine to notice", async || {
        engine.seen(&call).unwrap().cancelled
    })
    .await;
    let row = rows::ended(&pool, &call).await;
    assert!(
        row.outcome == 2 && (2..8).contains(&row.output_tokens),
        "{row:?}"
    );
}
