use chrono::Duration;
use sqlx::PgPool;
use tonic::Code;
use tonic_types::StatusExt;

use crate::{
    peers::{BROKEN, CURRENT},
    world::{PHONE, World, reason},
};

#[sqlx::test]
async fn a_refusal_of_privacy_is_told_in_our_words_and_leaves_the_code_usable(pool: PgPool) {
    let world = World::new(pool).await;
    let code = world.code(PHONE).await;
    let refused = world.register_with(PHONE, &code, &[]).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    let details = refused.get_error_details();
    let info = details.error_info().unwrap();
    assert_eq!(info.reason, "AGREEMENTS_NOT_ACCEPTED");
    assert_eq!(info.domain, "identity.wanwu");
    assert_eq!(info.metadata["current"], CURRENT);

    // What is wrong inside privacy is nobody's business outside.
    let broken = world.register_with(PHONE, &code, &[BROKEN]).await;
    let broken = broken.unwrap_err();
    assert_eq!(broken.code(), Code::Unavailable);
    assert!(!broken.message().contains("table"), "{broken:?}");

    world.register_with(PHONE, &code, &[CURRENT]).await.unwrap();
}

#[sqlx::test]
async fn a_number_has_one_account(pool: PgPool) {
    let world = World::new(pool).await;
    world.registered(PHONE).await;
    world.pass(Duration::seconds(61));
    let code = world.code(PHONE).await;
    let again = world.register_with(PHONE, &code, &[CURRENT]).await;
    assert_eq!(reason(&again.unwrap_err()), "ALREADY_REGISTERED");
    // The code is still good for what the person meant.
    world.sign_in(PHONE, &code).await.unwrap();
}

#[sqlx::test]
async fn a_number_is_stored_sealed_and_keyed_only(pool: PgPool) {
    let world = World::new(pool).await;
    let (account_id, _) = world.registered(PHONE).await;
    let rows: Vec<String> = sqlx::query_scalar(
        "select p::text from phones p union all select c::text from codes c
         union all select o::text from outbox o",
    )
    .fetch_all(&world.pool)
    .await
    .unwrap();
    assert!(rows.len() >= 3);
    let hexed = hex::encode(PHONE);
    for row in rows {
        assert!(!row.contains(PHONE) && !row.contains(&hexed), "{row}");
    }
    let told: i64 = sqlx::query_scalar(
        "select count(*) from outbox where type = 'wanwu.identity.v1.AccountRegistered'",
    )
    .fetch_one(&world.pool)
    .await
    .unwrap();
    assert_eq!(told, 1, "{account_id}");
}
