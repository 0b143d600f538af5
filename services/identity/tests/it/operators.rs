use chrono::Duration;
use identity::{commands::CreatedOperator, domain::totp::Authenticator};
use sqlx::PgPool;
use tonic::{Code, Status};
use totp_rs::Secret;
use wanwu_access::OperatorRole;
use wanwu_clock::Clock;
use wanwu_proto::{
    access::v1::principal::Subject,
    identity::v1::{
        GetGrantRequest, GetStandingRequest, LiftSuspensionRequest, ListAuditEntriesRequest,
        SignInOperatorRequest, SignInOperatorResponse, SuspendAccountRequest,
        WatchStandingsRequest, grant_service_server::GrantService,
        operator_service_server::OperatorService, standing_service_server::StandingService,
    },
};
use wanwu_testkit::wait_for;

use crate::world::{PHONE, WITHIN, World, race, reason, told};

const NAME: &str = "li.wei";

async fn operator(world: &World) -> CreatedOperator {
    let roles = [OperatorRole::Security, OperatorRole::Support];
    world.app().create_operator(NAME, &roles).await.unwrap()
}

/// The authenticator's digits now.
fn digits(world: &World, operator: &CreatedOperator) -> String {
    let secret = Secret::Encoded(operator.totp_secret.clone())
        .to_bytes()
        .unwrap();
    let seconds = u64::try_from(world.clock.now().timestamp()).unwrap();
    Authenticator::new(secret).unwrap().code_at(seconds)
}

async fn sign_in(
    world: &World,
    name: &str,
    password: &str,
    totp: &str,
) -> Result<SignInOperatorResponse, Status> {
    let request = SignInOperatorRequest {
        name: name.to_owned(),
        password: password.to_owned(),
        totp: totp.to_owned(),
    };
    let answer = world.api.sign_in_operator(world.from("", request)).await?;
    Ok(answer.into_inner())
}

#[sqlx::test]
async fn a_session_has_its_roles_and_lives_a_quarter_of_an_hour(pool: PgPool) {
    let world = World::new(pool).await;
    let made = operator(&world).await;
    let totp = digits(&world, &made);
    let session = sign_in(&world, NAME, &made.password, &totp).await.unwrap();
    let ends = session.expire_time.unwrap().seconds;
    assert_eq!(ends - world.clock.now().timestamp(), 15 * 60);
    let id = uuid::Uuid::try_parse(&session.access_token[3..35]).unwrap();
    let credential_id = id.to_string();
    let grant = world.from("", GetGrantRequest { credential_id });
    let grant = world.api.get_grant(grant).await.unwrap().into_inner().grant;
    let Some(Subject::Operator(subject)) = grant.unwrap().principal.unwrap().subject else {
        panic!("an operator's")
    };
    assert_eq!(subject.operator_id, made.operator_id.to_string());
    let mut roles = vec![
        i32::from(OperatorRole::Security),
        i32::from(OperatorRole::Support),
    ];
    roles.sort_unstable();
    assert_eq!(subject.roles, roles);
}

#[sqlx::test]
async fn digits_are_good_once_also_when_they_arrive_at_once(pool: PgPool) {
    let world = World::new(pool).await;
    let made = operator(&world).await;
    let totp = digits(&world, &made);
    let calls = (0..4).map(|_| sign_in(&world, NAME, &made.password, &totp));
    let (right, refused) = race(calls).await;
    assert_eq!(right.len(), 1);
    assert_eq!(refused, vec!["INVALID_CREDENTIAL"; 3]);
    world.pass(Duration::seconds(30));
    let totp = digits(&world, &made);
    sign_in(&world, NAME, &made.password, &totp).await.unwrap();
}

#[sqlx::test]
async fn known_and_unknown_names_are_refused_alike_and_locked_alike(pool: PgPool) {
    let world = World::new(pool).await;
    let made = operator(&world).await;
    let right = digits(&world, &made);
    let mut answers = Vec::new();
    for name in [NAME, "nobody"] {
        let mut told = Vec::new();
        for _ in 0..7 {
            let refused = sign_in(&world, name, "wrong", &right).await.unwrap_err();
            told.push(format!("{refused:?}"));
        }
        answers.push(told);
    }
    assert_eq!(answers[0], answers[1]);
    // Locked for everybody, the right one too, for a quarter of an hour.
    let locked = sign_in(&world, NAME, &made.password, &right).await;
    assert_eq!(reason(&locked.unwrap_err()), "RATE_LIMITED");
    world.pass(Duration::minutes(15));
    let totp = digits(&world, &made);
    sign_in(&world, NAME, &made.password, &totp).await.unwrap();
}

#[sqlx::test]
async fn of_twenty_guesses_at_once_five_are_compared(pool: PgPool) {
    let world = World::new(pool).await;
    operator(&world).await;
    let calls = (0..20).map(|_| sign_in(&world, NAME, "wrong", "000000"));
    let (_, refused) = race(calls).await;
    let compared = refused.iter().filter(|text| *text == "INVALID_CREDENTIAL");
    assert_eq!((compared.count(), refused.len()), (5, 20));
    let attempts: i32 = sqlx::query_scalar("select attempts from operator_attempts")
        .fetch_one(&world.pool)
        .await
        .unwrap();
    assert_eq!(attempts, 5);
}

#[sqlx::test]
async fn a_suspension_is_told_within_a_second_audited_and_lifted(pool: PgPool) {
    let world = World::new(pool).await;
    world.run();
    let (account, _) = world.registered(PHONE).await;
    let made = operator(&world).await;
    let account_id = account.to_string();
    let ask = || {
        let account_id = account_id.clone();
        world
            .api
            .get_standing(world.from("", GetStandingRequest { account_id }))
    };
    wait_for("a standing", std::time::Duration::from_secs(10), || async {
        ask().await.is_ok()
    })
    .await;
    let before = ask().await.unwrap().into_inner().standing.unwrap();
    let watch = world.from("", WatchStandingsRequest {});
    let mut watch = world.api.watch_standings(watch).await.unwrap().into_inner();

    world.pass(Duration::seconds(1));
    let suspend = SuspendAccountRequest {
        request_id: world.request_id(),
        account_id: account_id.clone(),
        reason_code: "fraud".to_owned(),
    };
    let by = |message| world.by_operator(made.operator_id, message);
    world
        .api
        .suspend_account(by(suspend.clone()))
        .await
        .unwrap();
    let took = told(&mut watch, |item| {
        let standing = item.standing.as_ref();
        standing.is_some_and(|standing| standing.suspended && standing.version > before.version)
    });
    let took = took.await;
    assert!(took < WITHIN, "{took:?}");
    // Told again, nothing happens again.
    world.api.suspend_account(by(suspend)).await.unwrap();
    let suspended = ask().await.unwrap().into_inner().standing.unwrap();
    assert_eq!(suspended.version, before.version + 1);

    world.pass(Duration::seconds(1));
    let lift = LiftSuspensionRequest {
        request_id: world.request_id(),
        account_id: account_id.clone(),
        reason_code: "appeal".to_owned(),
    };
    let lift = world.by_operator(made.operator_id, lift);
    world.api.lift_suspension(lift).await.unwrap();
    let lifted = ask().await.unwrap().into_inner().standing.unwrap();
    assert!(!lifted.suspended && lifted.version > suspended.version);

    let list = world.by_operator(made.operator_id, ListAuditEntriesRequest::default());
    let entries = world
        .api
        .list_audit_entries(list)
        .await
        .unwrap()
        .into_inner();
    let actions: Vec<_> = entries
        .entries
        .iter()
        .map(|entry| entry.action.as_str())
        .collect();
    assert_eq!(
        actions,
        ["lift_suspension", "suspend_account", "create_operator"]
    );
    for sql in ["delete from audit_entries", "truncate audit_entries"] {
        assert!(
            sqlx::query(sql).execute(&world.pool).await.is_err(),
            "{sql}"
        );
    }
}

#[sqlx::test]
async fn an_account_that_is_not_there_cannot_be_suspended(pool: PgPool) {
    let world = World::new(pool).await;
    let suspend = SuspendAccountRequest {
        request_id: world.request_id(),
        account_id: world.request_id(),
        reason_code: "fraud".to_owned(),
    };
    let refused = world
        .api
        .suspend_account(world.by_operator(world.ids.id(), suspend));
    assert_eq!(refused.await.unwrap_err().code(), Code::NotFound);
}
