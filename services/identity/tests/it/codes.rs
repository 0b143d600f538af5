use chrono::Duration;
use sqlx::PgPool;
use wanwu_proto::identity::v1::{
    CheckAccountCodeRequest, SendAccountCodeRequest,
    account_code_service_server::AccountCodeService,
};

use crate::{
    peers::CURRENT,
    sms::Mood,
    world::{PHONE, World, race, reason},
};

const OTHER: &str = "13800138001";

fn wrong(code: &str) -> &'static str {
    if code == "000000" { "000001" } else { "000000" }
}

async fn comparisons(world: &World) -> i32 {
    let counted = "select comparisons from codes order by sent_at desc limit 1";
    sqlx::query_scalar(counted)
        .fetch_one(&world.pool)
        .await
        .unwrap()
}

#[sqlx::test]
async fn of_fifty_wrong_guesses_at_once_five_are_compared_and_the_right_one_comes_too_late(
    pool: PgPool,
) {
    let world = World::new(pool).await;
    world.registered(PHONE).await;
    world.pass(Duration::seconds(61));
    let code = world.code(PHONE).await;
    let calls = (0..50).map(|_| world.sign_in(PHONE, wrong(&code)));
    let (right, refused) = race(calls).await;
    assert!(right.is_empty());
    assert_eq!(refused, vec!["CODE_INVALID"; 50]);
    assert_eq!(comparisons(&world).await, 5);
    let late = world.sign_in(PHONE, &code).await.unwrap_err();
    assert_eq!(reason(&late), "CODE_INVALID");
}

#[sqlx::test]
async fn of_fifty_right_ones_at_once_one_signs_in(pool: PgPool) {
    let world = World::new(pool).await;
    world.registered(PHONE).await;
    world.pass(Duration::seconds(61));
    let code = world.code(PHONE).await;
    let calls = (0..50).map(|_| world.sign_in(PHONE, &code));
    let (right, refused) = race(calls).await;
    assert_eq!(right.len(), 1);
    assert_eq!(refused, vec!["CODE_INVALID"; 49]);
}

#[sqlx::test]
async fn of_fifty_right_ones_at_once_one_registers(pool: PgPool) {
    let world = World::new(pool).await;
    let code = world.code(PHONE).await;
    let calls = (0..50).map(|_| world.register_with(PHONE, &code, &[CURRENT]));
    let (right, _) = race(calls).await;
    assert_eq!(right.len(), 1);
    let accounts: i64 = sqlx::query_scalar("select count(*) from accounts")
        .fetch_one(&world.pool)
        .await
        .unwrap();
    assert_eq!(accounts, 1);
}

#[sqlx::test]
async fn a_code_is_good_once_for_five_minutes_and_its_own_number(pool: PgPool) {
    let world = World::new(pool).await;
    world.registered(PHONE).await;
    world.registered(OTHER).await;
    world.pass(Duration::seconds(61));
    let (code, others) = (world.code(PHONE).await, world.code(OTHER).await);
    if code != others {
        assert!(world.sign_in(OTHER, &code).await.is_err());
    }
    world.sign_in(PHONE, &code).await.unwrap();
    assert!(world.sign_in(PHONE, &code).await.is_err(), "used");
    world.pass(Duration::minutes(5));
    assert!(world.sign_in(OTHER, &others).await.is_err(), "too old");
}

#[sqlx::test]
async fn a_newer_code_takes_the_place_of_the_one_before(pool: PgPool) {
    let world = World::new(pool).await;
    world.registered(PHONE).await;
    world.pass(Duration::seconds(61));
    let first = world.code(PHONE).await;
    world.pass(Duration::seconds(61));
    let second = world.code(PHONE).await;
    if first != second {
        assert!(world.sign_in(PHONE, &first).await.is_err());
    }
    world.sign_in(PHONE, &second).await.unwrap();
}

#[sqlx::test]
async fn known_and_unknown_numbers_get_the_same_bytes(pool: PgPool) {
    let world = World::new(pool).await;
    world.registered(PHONE).await;
    world.pass(Duration::seconds(61));
    let known = world.send_code(PHONE, "").await.unwrap();
    let unknown = world.send_code(OTHER, "").await.unwrap();
    assert_eq!(known, unknown);
    // Too many of them.
    let known = world.send_code(PHONE, "").await.unwrap_err();
    let unknown = world.send_code(OTHER, "").await.unwrap_err();
    assert_eq!(format!("{known:?}"), format!("{unknown:?}"));
    // A wrong code.
    for typed in ["000000", "12345", ""] {
        let guess = |phone: &'static str| {
            let code = world.sms.code(phone);
            let typed = if typed == "000000" {
                wrong(&code)
            } else {
                typed
            };
            world.sign_in(phone, typed)
        };
        let (known, unknown) = (guess(PHONE).await, guess(OTHER).await);
        let (known, unknown) = (known.unwrap_err(), unknown.unwrap_err());
        assert_eq!(format!("{known:?}"), format!("{unknown:?}"), "{typed}");
    }
    // Whoever has the right code has the number, and may know.
    let code = world.sms.code(OTHER);
    let unknown = world.sign_in(OTHER, &code).await.unwrap_err();
    assert_eq!(reason(&unknown), "NOT_REGISTERED");
}

#[sqlx::test]
async fn no_digits_are_stored_and_the_row_says_what_became_of_the_message(pool: PgPool) {
    let world = World::new(pool).await;
    let code = world.code(PHONE).await;
    world.sms.becomes(Mood::Refuses);
    let refused = world.send_code(OTHER, "").await.unwrap_err();
    assert_eq!(reason(&refused), "UNAVAILABLE");
    assert!(!refused.message().contains(OTHER));
    let rows: Vec<String> = sqlx::query_scalar("select c::text from codes c order by sent_at")
        .fetch_all(&world.pool)
        .await
        .unwrap();
    let hexed = hex::encode(&code);
    for row in &rows {
        assert!(!row.contains(PHONE) && !row.contains(OTHER), "{row}");
        assert!(!row.contains(&hexed), "{row}");
    }
    let deliveries: Vec<String> =
        sqlx::query_scalar("select delivery from codes order by delivery")
            .fetch_all(&world.pool)
            .await
            .unwrap();
    assert_eq!(deliveries, ["failed", "sent"]);
}

#[sqlx::test]
async fn a_code_for_one_purpose_is_good_for_no_other(pool: PgPool) {
    let world = World::new(pool).await;
    let (account_id, _) = world.registered(PHONE).await;
    world.pass(Duration::seconds(61));
    let account_id = account_id.to_string();
    let sent = SendAccountCodeRequest {
        account_id: account_id.clone(),
        purpose: "guardian_consent".to_owned(),
    };
    let request = world.from("", sent);
    world.api.send_account_code(request).await.unwrap();
    let code = world.sms.code(PHONE);
    assert!(world.sign_in(PHONE, &code).await.is_err());
    let check = |purpose: &str| {
        let checked = CheckAccountCodeRequest {
            account_id: account_id.clone(),
            purpose: purpose.to_owned(),
            code: code.clone(),
        };
        world.api.check_account_code(world.from("", checked))
    };
    check("guardian_consent").await.unwrap();
    assert!(check("guardian_consent").await.is_err(), "used");
}
