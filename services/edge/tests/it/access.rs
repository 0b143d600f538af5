use std::time::{Duration, Instant};

use prost_types::Timestamp;
use tonic::{Code, Request};
use wanwu_access::OperatorRole;
use wanwu_clock::Clock;
use wanwu_proto::identity::v1::{AgeBand, Standing};
use wanwu_testkit::wait_for;

use crate::{
    identity::{SECRET, good},
    world::{PATIENCE, World, reason, say},
};

#[tokio::test(flavor = "multi_thread")]
async fn each_method_is_for_whom_its_rule_names() {
    let world = World::start().await;
    let grpc = world.grpc().await;
    let (account, _) = world.identity.account();
    let (key, _) = world.identity.key(&["chat"]);
    let (scopeless, _) = world.identity.key(&["speech"]);
    let support = world.identity.operator(OperatorRole::Support);
    let finance = world.identity.operator(OperatorRole::Finance);
    let cases = [
        ("Say", &account, "passes"),
        ("Say", &key, "passes"),
        ("Say", &support, "passes"),
        ("SayAsAccount", &account, "passes"),
        ("SayAsAccount", &key, "NOT_ALLOWED"),
        ("SayAsAccount", &support, "NOT_ALLOWED"),
        ("SayAsKey", &key, "passes"),
        ("SayAsKey", &scopeless, "SCOPE_MISSING"),
        ("SayAsKey", &account, "NOT_ALLOWED"),
        ("SayAsOperator", &support, "passes"),
        ("SayAsOperator", &finance, "NOT_ALLOWED"),
        ("SayAsOperator", &account, "NOT_ALLOWED"),
    ];
    for (method, credential, expected) in cases {
        let said = grpc.say_as(method, credential).await;
        let outcome = said.map_or_else(|status| reason(&status), |_| "passes".to_owned());
        assert_eq!(outcome, expected, "{method}");
    }
    for method in ["SayAsAccount", "SayAsKey", "SayAsOperator"] {
        let status = grpc.say(method, Request::new(say("x"))).await.unwrap_err();
        assert_eq!(status.code(), Code::Unauthenticated);
        assert_eq!(reason(&status), "UNAUTHENTICATED");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credential_that_is_not_good_is_refused() {
    let world = World::start().await;
    let grpc = world.grpc().await;
    let (token, _) = world.identity.account();
    let (expired, _) = world.identity.account();
    let end = world.clock.now().timestamp();
    world.identity.change(&expired, |grant| {
        grant.expire_time = Some(Timestamp {
            seconds: end + 60,
            nanos: 0,
        });
    });
    grpc.say_as("SayAsAccount", &expired).await.unwrap();
    world.clock.advance(chrono::TimeDelta::seconds(60));
    let (revoked, _) = world.identity.account();
    world
        .identity
        .change(&revoked, |grant| grant.revoked = true);
    let unknown = format!("ws-{}-{SECRET}", uuid::Uuid::new_v4().simple());
    let wrong_secret = format!("{token}x");
    let wrong_kind = token.replacen("ws-", "wk-", 1);
    for credential in [
        &expired,
        &revoked,
        &unknown,
        &wrong_secret,
        &wrong_kind,
        "nonsense",
    ] {
        // Where nobody needs one, a credential that is presented must be good all the same.
        for method in ["SayAsAccount", "Say"] {
            let status = grpc.say_as(method, credential).await.unwrap_err();
            assert_eq!(status.code(), Code::Unauthenticated);
            assert_eq!(reason(&status), "INVALID_CREDENTIAL");
        }
    }
    grpc.say_as("SayAsAccount", &token).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_credential_is_asked_for_once() {
    let world = World::start().await;
    let grpc = world.grpc().await;
    let unknown = format!("wk-{}-{SECRET}", uuid::Uuid::new_v4().simple());
    let before = *world.identity.asked.lock();
    for _ in 0..20 {
        grpc.say_as("SayAsKey", &unknown).await.unwrap_err();
    }
    assert_eq!(*world.identity.asked.lock(), before + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_key_is_refused_within_a_second() {
    let world = World::start().await;
    let grpc = world.grpc().await;
    let (key, _) = world.identity.key(&["chat"]);
    grpc.say_as("SayAsKey", &key).await.unwrap();
    world.identity.change(&key, |grant| grant.revoked = true);
    let begun = Instant::now();
    wait_for("the refusal", Duration::from_secs(1), || async {
        match grpc.say_as("SayAsKey", &key).await {
            Ok(_) => false,
            Err(status) => {
                assert_eq!(reason(&status), "INVALID_CREDENTIAL");
                true
            }
        }
    })
    .await;
    assert!(begun.elapsed() < Duration::from_secs(1));
}

/// What happens to a standing.
type Change = fn(&mut Standing);

#[tokio::test(flavor = "multi_thread")]
async fn each_gate_is_felt_within_a_second() {
    let world = World::start().await;
    let grpc = world.grpc().await;
    let (token, account) = world.identity.account();
    grpc.say_as("SayAsAccount", &token).await.unwrap();
    let cases: [(Change, &str); 8] = [
        (
            |it| it.agreements_current = false,
            "AGREEMENTS_NOT_ACCEPTED",
        ),
        (|it| it.core_consent = false, "CONSENT_WITHDRAWN"),
        (|it| it.real_name_verified = false, "REAL_NAME_REQUIRED"),
        (
            |it| it.age_band = AgeBand::AgeBand14To17.into(),
            "GUARDIAN_CONSENT_REQUIRED",
        ),
        (|it| it.age_band = AgeBand::Under8.into(), "AGE_REFUSED"),
        (|it| it.suspended = true, "ACCOUNT_SUSPENDED"),
        (|it| it.closed = true, "ACCOUNT_CLOSED"),
        (|_| {}, "passes"),
    ];
    for (version, (change, expected)) in (2..).zip(cases) {
        let mut standing = good(account);
        standing.version = version;
        change(&mut standing);
        world.identity.stand(standing);
        wait_for(expected, Duration::from_secs(1), || async {
            let said = grpc.say_as("SayAsAccount", &token).await;
            said.map_or_else(|status| reason(&status), |_| "passes".to_owned()) == expected
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_identity_nobody_is_known_any_more() {
    let world = World::start().await;
    let grpc = world.grpc().await;
    let (token, _) = world.identity.account();
    grpc.say_as("SayAsAccount", &token).await.unwrap();
    world.lose_identity();
    wait_for("the refusal", PATIENCE, || async {
        match grpc.say_as("SayAsAccount", &token).await {
            Ok(_) => false,
            Err(status) => {
                assert_eq!(reason(&status), "STANDING_UNKNOWN");
                assert_eq!(status.code(), Code::Unavailable);
                true
            }
        }
    })
    .await;
    // What needs no credential is answered.
    grpc.say("Say", Request::new(say("x"))).await.unwrap();
}
