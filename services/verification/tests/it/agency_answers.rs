use chrono::Duration;
use sqlx::PgPool;
use wanwu_proto::verification::v1::VerificationState;

use crate::{
    agency::Mood,
    world::{NAME, World, reason, resident_id},
};

/// Nothing but a signed answer to this check decides; then the check is asked about again and holds.
async fn is_no_answer(pool: PgPool, mood: Mood) {
    let world = World::new(pool).await;
    let number = resident_id("19900307");
    world.agency.knows(NAME, &number);
    world.agency.becomes(mood);
    let account = world.account();
    let request = world.submission(account, &number);
    let check = world.submit(account, &request).await.unwrap();
    assert_eq!(check.state(), VerificationState::Pending);
    assert!(!world.gate(account).await.verified);
    assert_eq!(world.told().await, 0);
    let second = world.submission(account, &number);
    let refused = world.submit(account, &second).await.unwrap_err();
    assert_eq!(reason(&refused), "VERIFICATION_PENDING");
    assert_eq!(world.privacy.used(), 1, "no consent is spent on a refusal");

    // Not at once again, however often it is looked at; and then ever less often.
    assert_eq!(world.app().ask_about_pending().await.unwrap(), 0);
    world.clock.advance(Duration::seconds(2));
    assert_eq!(world.app().ask_about_pending().await.unwrap(), 1);
    world.clock.advance(Duration::seconds(2));
    assert_eq!(world.app().ask_about_pending().await.unwrap(), 0);
    assert!(!world.gate(account).await.verified);

    world.agency.becomes(Mood::Answers);
    world.clock.advance(Duration::seconds(2));
    assert_eq!(world.app().ask_about_pending().await.unwrap(), 1);
    assert!(world.gate(account).await.verified);
    assert_eq!(world.agency.asked(), (1, 3), "always the same check");
    assert_eq!(world.told().await, 1);
}

#[sqlx::test]
async fn an_agency_that_is_too_slow_is_asked_again(pool: PgPool) {
    is_no_answer(pool, Mood::FallsSilent).await;
}

#[sqlx::test]
async fn an_agency_that_refuses_is_asked_again(pool: PgPool) {
    is_no_answer(pool, Mood::Refuses).await;
}

#[sqlx::test]
async fn an_answer_that_another_signed_decides_nothing(pool: PgPool) {
    is_no_answer(pool, Mood::Forges).await;
}

#[sqlx::test]
async fn an_old_answer_decides_nothing(pool: PgPool) {
    is_no_answer(pool, Mood::Replays).await;
}

#[sqlx::test]
async fn an_answer_to_another_check_decides_nothing(pool: PgPool) {
    is_no_answer(pool, Mood::Confuses).await;
}

#[sqlx::test]
async fn signed_garbage_decides_nothing(pool: PgPool) {
    is_no_answer(pool, Mood::Babbles).await;
}

#[sqlx::test]
async fn a_result_that_the_protocol_does_not_have_decides_nothing(pool: PgPool) {
    is_no_answer(pool, Mood::Invents).await;
}

#[sqlx::test]
async fn two_processes_that_ask_at_once_tell_the_result_once(pool: PgPool) {
    let world = World::new(pool).await;
    let number = resident_id("19900307");
    world.agency.knows(NAME, &number);
    world.agency.becomes(Mood::Refuses);
    let account = world.account();
    let request = world.submission(account, &number);
    world.submit(account, &request).await.unwrap();
    world.agency.becomes(Mood::Answers);
    world.clock.advance(Duration::seconds(2));
    let replicas: Vec<_> = (0..4).map(|_| world.replica()).collect();
    let asking = replicas.iter().map(|replica| replica.ask_about_pending());
    for asked in futures::future::join_all(asking).await {
        asked.unwrap();
    }
    assert!(world.gate(account).await.verified);
    assert_eq!(world.gate(account).await.version, 1);
    assert_eq!(world.told().await, 1);
}
