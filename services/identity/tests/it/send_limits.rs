use chrono::Duration;
use identity::domain::send_limits::SendLimits;
use sqlx::PgPool;
use wanwu_proto::identity::v1::{
    SendVerificationCodeRequest, session_service_server::SessionService,
};

use crate::world::{PHONE, World, race, reason};

/// Mainland numbers that nobody has.
fn numbers(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("138001{n:05}")).collect()
}

#[sqlx::test]
async fn of_fifty_requests_for_a_number_at_once_one_is_sent(pool: PgPool) {
    let world = World::new(pool).await;
    let calls = (0..50).map(|_| world.send_code(PHONE, ""));
    let (sent, refused) = race(calls).await;
    assert_eq!(sent.len(), 1);
    assert_eq!(refused, vec!["RATE_LIMITED"; 49]);
    assert_eq!(world.sms.messages().len(), 1);
}

#[sqlx::test]
async fn a_number_gets_five_an_hour_and_ten_a_day(pool: PgPool) {
    let world = World::new(pool).await;
    for (hours, expected) in [(0, 5), (1, 5), (2, 0), (23, 0), (24, 5)] {
        let mut sent = 0;
        for _ in 0..7 {
            // Two replicas, each several times at once.
            let replica = world.replica(LIMITS);
            let request = || {
                let phone = PHONE.to_owned();
                world.from("", SendVerificationCodeRequest { phone })
            };
            let calls = (0..4).map(|n| {
                let api = if n % 2 == 0 { &world.api } else { &replica };
                api.send_verification_code(request())
            });
            sent += race(calls).await.0.len();
            world.pass(Duration::seconds(61));
        }
        assert_eq!(sent, expected, "from hour {hours}");
        let next = [1, 2, 23, 24, 48].iter().find(|next| **next > hours);
        let passed = Duration::seconds(61 * 7);
        world.pass(Duration::hours(next.unwrap() - hours) - passed);
    }
}

const LIMITS: SendLimits = SendLimits {
    number_a_minute: 1,
    number_an_hour: 5,
    number_a_day: 10,
    address_an_hour: 1000,
    everybody_a_minute: 1000,
};

#[sqlx::test]
async fn an_address_gets_its_share_however_many_ask_at_once(pool: PgPool) {
    let limits = SendLimits {
        address_an_hour: 7,
        ..LIMITS
    };
    let world = World::with_limits(pool, limits).await;
    let numbers = numbers(50);
    let calls = numbers.iter().map(|phone| world.send_code(phone, "here"));
    let (sent, refused) = race(calls).await;
    assert_eq!((sent.len(), refused.len()), (7, 43));
    assert_eq!(world.sms.messages().len(), 7);
    // Another address is another one; and an hour later this one begins anew.
    world.send_code(PHONE, "there").await.unwrap();
    world.pass(Duration::hours(1));
    world.send_code(PHONE, "here").await.unwrap();
}

#[sqlx::test]
async fn everybody_together_gets_the_budget_and_not_one_more(pool: PgPool) {
    let limits = SendLimits {
        everybody_a_minute: 9,
        ..LIMITS
    };
    let world = World::with_limits(pool, limits).await;
    let numbers = numbers(50);
    let (here, there) = numbers.split_at(25);
    let calls = here.iter().map(|phone| world.send_code(phone, "here"));
    let other = there.iter().map(|phone| world.send_code(phone, "there"));
    let (sent, refused) = race(calls.chain(other).collect::<Vec<_>>()).await;
    assert_eq!((sent.len(), refused.len()), (9, 41));
    assert_eq!(world.sms.messages().len(), 9);
}

#[sqlx::test]
async fn a_refusal_says_when_to_come_back(pool: PgPool) {
    use tonic_types::StatusExt;
    let world = World::new(pool).await;
    world.send_code(PHONE, "").await.unwrap();
    world.pass(Duration::seconds(20));
    let refused = world.send_code(PHONE, "").await.unwrap_err();
    let details = refused.get_error_details();
    let delay = details.retry_info().unwrap().retry_delay.unwrap();
    assert_eq!(delay.as_secs(), 40);
    world.pass(Duration::seconds(40));
    world.send_code(PHONE, "").await.unwrap();
}

#[sqlx::test]
async fn only_numbers_of_mainland_people_get_codes(pool: PgPool) {
    let world = World::new(pool).await;
    for phone in [
        "",
        "1380013800",
        "+85291234567",
        "02012345678",
        "10012345678",
    ] {
        let refused = world.send_code(phone, "").await.unwrap_err();
        assert_eq!(reason(&refused), "INVALID_ARGUMENT", "{phone}");
    }
    assert!(world.sms.messages().is_empty());
}
