use chrono::Duration;
use sqlx::PgPool;
use tonic::{Code, Status};
use wanwu_clock::Clock;
use wanwu_ids::AccountId;
use wanwu_proto::{
    access::v1::principal::Subject,
    identity::v1::{
        CreateApiKeyRequest, CreateApiKeyResponse, GetGrantRequest, ListApiKeysRequest,
        RevokeApiKeyRequest, WatchGrantsRequest, api_key_service_server::ApiKeyService,
        grant_service_server::GrantService,
    },
};

use crate::world::{PHONE, WITHIN, World, reason, told};

fn asked(world: &World, app_id: &str) -> CreateApiKeyRequest {
    CreateApiKeyRequest {
        request_id: world.request_id(),
        app_id: app_id.to_owned(),
        scopes: vec!["chat".to_owned(), "chat".to_owned()],
        expire_time: None,
    }
}

async fn create(
    world: &World,
    account_id: AccountId,
    request: &CreateApiKeyRequest,
) -> Result<CreateApiKeyResponse, Status> {
    let request = world.by(account_id, request.clone());
    Ok(world.api.create_api_key(request).await?.into_inner())
}

#[sqlx::test]
async fn a_key_is_shown_once_and_stored_hashed(pool: PgPool) {
    let world = World::new(pool).await;
    let (account_id, _) = world.registered(PHONE).await;
    let app = world.owned_app(account_id).await;
    let request = asked(&world, &app.app_id);
    let made = create(&world, account_id, &request).await.unwrap();
    let (key, secret) = (made.api_key.unwrap(), made.secret);
    assert_eq!(key.scopes, ["chat"]);

    let again = create(&world, account_id, &request).await.unwrap();
    assert_eq!(again.api_key.unwrap(), key);
    assert_eq!(again.secret, "");
    let other = CreateApiKeyRequest {
        scopes: vec!["chat".to_owned()],
        ..request
    };
    let other = create(&world, account_id, &other).await.unwrap_err();
    assert_eq!(reason(&other), "REQUEST_ID_REUSED");

    let secret = secret
        .rsplit_once(&format!("{}-", &secret[3..35]))
        .unwrap()
        .1;
    let rows: Vec<String> = sqlx::query_scalar(
        "select g::text from grants g union all select k::text from api_keys k
         union all select r::text from requests r union all select o::text from outbox o",
    )
    .fetch_all(&world.pool)
    .await
    .unwrap();
    for row in rows {
        assert!(
            !row.contains(secret) && !row.contains(&hex::encode(secret)),
            "{row}"
        );
    }
    let grant = world.from(
        "",
        GetGrantRequest {
            credential_id: key.key_id,
        },
    );
    let grant = world.api.get_grant(grant).await.unwrap().into_inner().grant;
    let grant = grant.unwrap();
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, secret.as_bytes());
    assert_eq!(grant.secret_hash, hash.as_ref());
    let Some(Subject::AppKey(subject)) = grant.principal.unwrap().subject else {
        panic!("a key's")
    };
    assert_eq!(subject.scopes, ["chat"]);
    assert_eq!(subject.app_id, app.app_id);
    assert_eq!(subject.account_id, account_id.to_string());
}

#[sqlx::test]
async fn a_key_needs_known_scopes_and_an_end_that_is_to_come(pool: PgPool) {
    let world = World::new(pool).await;
    let (account_id, _) = world.registered(PHONE).await;
    let app = world.owned_app(account_id).await;
    for scopes in [vec![], vec!["everything".to_owned()]] {
        let request = CreateApiKeyRequest {
            scopes,
            ..asked(&world, &app.app_id)
        };
        let refused = create(&world, account_id, &request).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument);
    }
    let end = |by: Duration| prost_types::Timestamp {
        seconds: (world.clock.now() + by).timestamp(),
        nanos: 0,
    };
    let mut request = asked(&world, &app.app_id);
    request.expire_time = Some(end(Duration::zero()));
    let refused = create(&world, account_id, &request).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    let mut request = asked(&world, &app.app_id);
    request.expire_time = Some(end(Duration::hours(1)));
    let made = create(&world, account_id, &request).await.unwrap();
    let credential_id = made.api_key.unwrap().key_id;
    let grant = world.from("", GetGrantRequest { credential_id });
    let grant = world.api.get_grant(grant).await.unwrap().into_inner().grant;
    // Whoever holds the grant sees the end.
    assert_eq!(grant.unwrap().expire_time, request.expire_time);
}

#[sqlx::test]
async fn a_revoked_key_is_told_within_a_second(pool: PgPool) {
    let world = World::new(pool).await;
    world.run();
    let (account_id, _) = world.registered(PHONE).await;
    let app = world.owned_app(account_id).await;
    let made = create(&world, account_id, &asked(&world, &app.app_id)).await;
    let key_id = made.unwrap().api_key.unwrap().key_id;
    let watch = world.from("", WatchGrantsRequest {});
    let mut watch = world.api.watch_grants(watch).await.unwrap().into_inner();
    let request = RevokeApiKeyRequest {
        key_id: key_id.clone(),
    };
    let request = world.by(account_id, request);
    world.api.revoke_api_key(request).await.unwrap();
    let took = told(&mut watch, |item| {
        let grant = item.grant.as_ref();
        grant.is_some_and(|grant| grant.credential_id == key_id && grant.revoked)
    });
    let took = took.await;
    assert!(took < WITHIN, "{took:?}");
}

#[sqlx::test]
async fn keys_of_others_are_not_there(pool: PgPool) {
    let world = World::new(pool).await;
    let (owner, _) = world.registered(PHONE).await;
    let (other, _) = world.registered("13800138001").await;
    let app = world.owned_app(owner).await;
    let made = create(&world, owner, &asked(&world, &app.app_id)).await;
    let key_id = made.unwrap().api_key.unwrap().key_id;
    let refused = create(&world, other, &asked(&world, &app.app_id)).await;
    assert_eq!(refused.unwrap_err().code(), Code::NotFound);
    let revoked = world
        .api
        .revoke_api_key(world.by(other, RevokeApiKeyRequest { key_id }));
    assert_eq!(revoked.await.unwrap_err().code(), Code::NotFound);
    let list = ListApiKeysRequest {
        app_id: app.app_id,
        ..ListApiKeysRequest::default()
    };
    let listed = world.api.list_api_keys(world.by(other, list)).await;
    assert_eq!(listed.unwrap_err().code(), Code::NotFound);
}
