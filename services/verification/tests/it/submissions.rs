use std::sync::Arc;

use sqlx::PgPool;
use tonic::Code;
use tonic_types::StatusExt;
use wanwu_proto::verification::v1::{
    GetVerificationRequest, SubmitRealNameRequest, VerificationState,
    verification_service_server::VerificationService,
};

use crate::world::{NAME, World, reason, resident_id};

#[sqlx::test]
async fn a_number_that_cannot_be_is_refused_before_anybody_is_asked(pool: PgPool) {
    let world = World::new(pool).await;
    let account = world.account();
    let right = resident_id("19900307");
    let mut wrong_check = right.clone();
    let last = if wrong_check.pop() == Some('0') {
        '1'
    } else {
        '0'
    };
    wrong_check.push(last);
    // Today is 2026-11-23 in Shanghai.
    let born_tomorrow = resident_id("20261124");
    for number in [
        wrong_check.as_str(),
        born_tomorrow.as_str(),
        resident_id("19900230").as_str(),
        &right[..17],
        "",
        "１１０１０１１９９００３０７００１０",
    ] {
        let request = world.submission(account, number);
        let refused = world.submit(account, &request).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{number}");
        assert_eq!(reason(&refused), "INVALID_ARGUMENT");
        let details = refused.get_error_details();
        let violation = &details.bad_request().unwrap().field_violations[0];
        assert_eq!(violation.field, "resident_id");
        let text = format!("{refused:?}");
        assert!(number.is_empty() || !text.contains(number), "{text}");
    }
    assert_eq!(world.privacy.used(), 0, "no consent was used up");
    assert_eq!(world.agency.asked(), (0, 0));
}

#[sqlx::test]
async fn name_and_number_that_belong_together_are_verified_and_others_are_not(pool: PgPool) {
    let world = World::new(pool).await;
    let number = resident_id("19900307");
    let account = world.verified(&number).await;
    let gate = world.gate(account).await;
    assert!(gate.verified);
    let newest = world.by(account, GetVerificationRequest {});
    let newest = world
        .api
        .get_verification(newest)
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        newest.verification.unwrap().state(),
        VerificationState::Verified
    );

    for (name, number) in [("李大明", number), (NAME, resident_id("19910307"))] {
        let other = world.account();
        let request = SubmitRealNameRequest {
            name: name.to_owned(),
            ..world.submission(other, &number)
        };
        let check = world.submit(other, &request).await.unwrap();
        assert_eq!(check.state(), VerificationState::Rejected);
        assert!(!world.gate(other).await.verified);
        // Whoever was rejected may try again.
        let again = world.submission(other, &number);
        world.submit(other, &again).await.unwrap();
    }
}

#[sqlx::test]
async fn a_request_that_is_repeated_is_the_same_check(pool: PgPool) {
    let world = World::new(pool).await;
    let number = resident_id("19900307");
    world.agency.knows(NAME, &number);
    let account = world.account();
    let request = world.submission(account, &number);
    let first = world.submit(account, &request).await.unwrap();
    let again = world.submit(account, &request).await.unwrap();
    assert_eq!(first, again);
    assert_eq!(world.agency.asked(), (1, 1));
    let other = SubmitRealNameRequest {
        name: "李大明".to_owned(),
        ..request
    };
    let reused = world.submit(account, &other).await.unwrap_err();
    assert_eq!(reason(&reused), "REQUEST_ID_REUSED");
    let third = world.submission(account, &number);
    let refused = world.submit(account, &third).await.unwrap_err();
    assert_eq!(reason(&refused), "ALREADY_VERIFIED");
}

#[sqlx::test]
async fn whoever_looks_for_pending_checks_does_not_take_one_from_its_submission(pool: PgPool) {
    let world = World::new(pool).await;
    let number = resident_id("19900307");
    world.agency.knows(NAME, &number);
    let looking = Arc::clone(world.app());
    let looking = tokio::spawn(async move {
        loop {
            looking.ask_about_pending().await.unwrap();
            tokio::task::yield_now().await;
        }
    });
    for _ in 0..100 {
        world.verified(&number).await;
    }
    looking.abort();
}

#[sqlx::test]
async fn of_ten_submissions_at_once_one_check_is_made(pool: PgPool) {
    let world = World::new(pool).await;
    let number = resident_id("19900307");
    world.agency.knows(NAME, &number);
    let account = world.account();
    let requests: Vec<_> = (0..10)
        .map(|_| world.submission(account, &number))
        .collect();
    let calls = requests
        .iter()
        .map(|request| world.submit(account, request));
    let answers = futures::future::join_all(calls).await;
    let made = answers.iter().filter(|answer| answer.is_ok()).count();
    assert_eq!(made, 1);
    for refused in answers.into_iter().filter_map(Result::err) {
        let reason = reason(&refused);
        assert!(
            ["ALREADY_VERIFIED", "VERIFICATION_PENDING"].contains(&&*reason),
            "{reason}"
        );
    }
    assert_eq!(world.agency.asked(), (1, 1));
    assert_eq!(world.told().await, 1);
}
