use chrono::{DateTime, Duration, Utc};
use sqlx::PgPool;
use tokio::task::JoinSet;
use uuid::Uuid;
use wanwu_postgres::{
    SCHEMA,
    requests::{BodyKey, BodyMac, Claim, ClaimError, KEPT, RequestKey, claim, find, sweep},
};
use wanwu_proto::operations::v1::ReplayDeadLetterRequest;

const NOW: DateTime<Utc> = DateTime::UNIX_EPOCH;

fn key(request: u128) -> RequestKey<'static> {
    let request_id = Uuid::from_u128(request);
    RequestKey {
        method: "wanwu.test.v1.Tests/Create",
        caller: "account:1",
        request_id,
    }
}

fn mac(queue: &str) -> BodyMac {
    let request = ReplayDeadLetterRequest {
        event_id: String::new(),
        queue: queue.to_owned(),
    };
    BodyKey::new(&[7; 32]).mac(&request)
}

#[sqlx::test(migrations = false)]
async fn a_repeated_request_finds_what_the_first_made(pool: PgPool) {
    sqlx::raw_sql(SCHEMA).execute(&pool).await.unwrap();
    let mut tx = pool.begin().await.unwrap();
    let (first, second) = (Uuid::from_u128(10), Uuid::from_u128(11));
    let claimed = claim(&mut tx, key(1), mac("a"), first, NOW, None)
        .await
        .unwrap();
    assert_eq!(claimed, Claim::New);
    let claimed = claim(&mut tx, key(1), mac("a"), second, NOW, None)
        .await
        .unwrap();
    assert_eq!(claimed, Claim::Repeated(first));
    let claimed = claim(&mut tx, key(1), mac("b"), second, NOW, None).await;
    assert!(matches!(claimed, Err(ClaimError::Reused)));
    let other = RequestKey {
        caller: "account:2",
        ..key(1)
    };
    assert_eq!(
        claim(&mut tx, other, mac("b"), second, NOW, None)
            .await
            .unwrap(),
        Claim::New
    );
    assert_eq!(find(&mut tx, key(2), mac("a")).await.unwrap(), None);
}

#[sqlx::test(migrations = false)]
async fn of_fifty_at_once_one_is_new(pool: PgPool) {
    sqlx::raw_sql(SCHEMA).execute(&pool).await.unwrap();
    let mut all = JoinSet::new();
    for object in 0..50 {
        let pool = pool.clone();
        all.spawn(async move {
            let mut tx = pool.begin().await.unwrap();
            let object = Uuid::from_u128(object);
            let claimed = claim(&mut tx, key(1), mac("a"), object, NOW, None)
                .await
                .unwrap();
            tx.commit().await.unwrap();
            (object, claimed)
        });
    }
    let all = all.join_all().await;
    let new: Vec<_> = all
        .iter()
        .filter(|(_, claimed)| *claimed == Claim::New)
        .collect();
    assert_eq!(new.len(), 1);
    let repeated = Claim::Repeated(new[0].0);
    assert_eq!(
        all.iter()
            .filter(|(_, claimed)| *claimed == repeated)
            .count(),
        49
    );
}

#[sqlx::test(migrations = false)]
async fn a_request_whose_transaction_failed_is_new_again(pool: PgPool) {
    sqlx::raw_sql(SCHEMA).execute(&pool).await.unwrap();
    for _ in 0..2 {
        let mut tx = pool.begin().await.unwrap();
        let claimed = claim(&mut tx, key(1), mac("a"), Uuid::nil(), NOW, None)
            .await
            .unwrap();
        assert_eq!(claimed, Claim::New);
        tx.rollback().await.unwrap();
    }
}

#[sqlx::test(migrations = false)]
async fn requests_are_forgotten_after_their_time_and_money_never(pool: PgPool) {
    sqlx::raw_sql(SCHEMA).execute(&pool).await.unwrap();
    let mut tx = pool.begin().await.unwrap();
    claim(&mut tx, key(1), mac("a"), Uuid::nil(), NOW, Some(KEPT))
        .await
        .unwrap();
    claim(&mut tx, key(2), mac("a"), Uuid::nil(), NOW, None)
        .await
        .unwrap();
    assert_eq!(sweep(&mut tx, NOW + KEPT, 10).await.unwrap(), 0);
    assert_eq!(
        sweep(&mut tx, NOW + Duration::days(4000), 10)
            .await
            .unwrap(),
        1
    );
    assert!(find(&mut tx, key(2), mac("a")).await.unwrap().is_some());
}
