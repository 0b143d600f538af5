use chrono::Duration;
use sqlx::PgPool;
use tonic::{Code, Status};
use wanwu_ids::SessionId;
use wanwu_proto::{
    access::v1::principal::Subject,
    identity::v1::{
        GetGrantRequest, Grant, RefreshSessionRequest, SignOutRequest, Tokens, WatchGrantsRequest,
        grant_service_server::GrantService, session_service_server::SessionService,
    },
};

use crate::world::{PHONE, WITHIN, World, race, told};

async fn refresh(world: &World, token: &str) -> Result<Tokens, Status> {
    let refresh_token = token.to_owned();
    let request = world.from("", RefreshSessionRequest { refresh_token });
    let answer = world.api.refresh_session(request).await?;
    Ok(answer.into_inner().tokens.unwrap())
}

/// The grant of an access token.
async fn grant(world: &World, token: &str) -> Grant {
    let credential_id = uuid::Uuid::try_parse(&token[3..35]).unwrap().to_string();
    let request = world.from("", GetGrantRequest { credential_id });
    let answer = world.api.get_grant(request).await.unwrap();
    answer.into_inner().grant.unwrap()
}

fn session(grant: &Grant) -> SessionId {
    let subject = grant.principal.clone().unwrap().subject.unwrap();
    let Subject::Account(account) = subject else {
        panic!("a person's")
    };
    account.session_id.parse().unwrap()
}

#[sqlx::test]
async fn tokens_live_ten_minutes_and_rotate(pool: PgPool) {
    let world = World::new(pool).await;
    let (_, first) = world.registered(PHONE).await;
    let expires = first.access_expire_time.unwrap().seconds;
    assert_eq!(expires - wanwu_testkit::START.timestamp(), 600);
    let second = refresh(&world, &first.refresh_token).await.unwrap();
    assert_ne!(first.access_token, second.access_token);
    assert_ne!(first.refresh_token, second.refresh_token);
    refresh(&world, &second.refresh_token).await.unwrap();
}

#[sqlx::test]
async fn a_refresh_token_that_comes_again_ends_its_whole_family(pool: PgPool) {
    let world = World::new(pool).await;
    let (_, stolen) = world.registered(PHONE).await;
    let own = refresh(&world, &stolen.refresh_token).await.unwrap();
    assert!(!grant(&world, &own.access_token).await.revoked);

    let reused = refresh(&world, &stolen.refresh_token).await.unwrap_err();
    assert_eq!(reused.code(), Code::Unauthenticated);
    let newest = refresh(&world, &own.refresh_token).await.unwrap_err();
    assert_eq!(newest.code(), Code::Unauthenticated);
    for token in [&stolen.access_token, &own.access_token] {
        assert!(grant(&world, token).await.revoked);
    }
    // Another session of the same person goes on.
    world.pass(Duration::seconds(61));
    let code = world.code(PHONE).await;
    let other = world.sign_in(PHONE, &code).await.unwrap();
    refresh(&world, &stolen.refresh_token).await.unwrap_err();
    refresh(&world, &other.refresh_token).await.unwrap();
}

#[sqlx::test]
async fn of_fifty_changes_of_one_token_at_once_at_most_one_succeeds_and_nothing_of_it_lives(
    pool: PgPool,
) {
    let world = World::new(pool).await;
    let (_, tokens) = world.registered(PHONE).await;
    let calls = (0..50).map(|_| refresh(&world, &tokens.refresh_token));
    let (right, refused) = race(calls).await;
    assert_eq!((right.len(), refused.len()), (1, 49));
    assert!(grant(&world, &right[0].access_token).await.revoked);
    refresh(&world, &right[0].refresh_token).await.unwrap_err();
}

#[sqlx::test]
async fn a_used_token_and_its_successor_at_once_leave_nothing_alive(pool: PgPool) {
    let world = World::new(pool).await;
    let (_, first) = world.registered(PHONE).await;
    let second = refresh(&world, &first.refresh_token).await.unwrap();
    let (next, reused) = tokio::join!(
        refresh(&world, &second.refresh_token),
        refresh(&world, &first.refresh_token),
    );
    reused.unwrap_err();
    // Whichever came first.
    if let Ok(third) = next {
        assert!(grant(&world, &third.access_token).await.revoked);
        refresh(&world, &third.refresh_token).await.unwrap_err();
    }
}

#[sqlx::test]
async fn a_token_that_is_too_old_or_invented_is_refused(pool: PgPool) {
    let world = World::new(pool).await;
    let (_, tokens) = world.registered(PHONE).await;
    let mut invented = tokens.refresh_token.clone();
    let last = if invented.pop() == Some('A') {
        'E'
    } else {
        'A'
    };
    invented.push(last);
    for token in ["", "wr-", &invented, &tokens.access_token] {
        refresh(&world, token).await.unwrap_err();
    }
    world.pass(Duration::days(31));
    refresh(&world, &tokens.refresh_token).await.unwrap_err();
}

#[sqlx::test]
async fn who_signs_out_is_refused_within_a_second(pool: PgPool) {
    let world = World::new(pool).await;
    world.run();
    let (account_id, tokens) = world.registered(PHONE).await;
    let own = grant(&world, &tokens.access_token).await;
    let watch = world.from("", WatchGrantsRequest {});
    let mut watch = world.api.watch_grants(watch).await.unwrap().into_inner();
    let request = world.in_session(account_id, session(&own), SignOutRequest {});
    world.api.sign_out(request).await.unwrap();
    let took = told(&mut watch, |item| {
        let grant = item.grant.as_ref();
        grant.is_some_and(|grant| grant.credential_id == own.credential_id && grant.revoked)
    });
    let took = took.await;
    assert!(took < WITHIN, "{took:?}");
    refresh(&world, &tokens.refresh_token).await.unwrap_err();
}

#[sqlx::test]
async fn what_is_over_is_swept_and_what_is_not_stays(pool: PgPool) {
    let world = World::new(pool).await;
    let (_, old) = world.registered(PHONE).await;
    world.pass(Duration::days(20));
    let code = world.code(PHONE).await;
    let young = world.sign_in(PHONE, &code).await.unwrap();
    world.pass(Duration::days(15));
    world.app().sweep_once().await.unwrap();
    let sessions: i64 = sqlx::query_scalar("select count(*) from sessions")
        .fetch_one(&world.pool)
        .await
        .unwrap();
    assert_eq!(sessions, 1);
    refresh(&world, &old.refresh_token).await.unwrap_err();
    refresh(&world, &young.refresh_token).await.unwrap();
}
