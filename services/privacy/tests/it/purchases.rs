use chrono::Duration;
use privacy::{
    commands::StartGuardianConsent, domain::allowance::Limits, error::Error, store::guardians,
};
use sqlx::PgPool;
use wanwu_ids::AccountId;

use crate::world::{World, noon};

fn limits(order_fen: i64, month_fen: i64) -> Limits {
    Limits {
        order_fen,
        month_fen,
        until: noon() + Duration::days(30),
    }
}

/// As if the guardian had confirmed with a code.
async fn consent(w: &World, pool: &PgPool, pair: StartGuardianConsent) {
    let mut connection = pool.acquire().await.unwrap();
    let entry = w.request_id();
    guardians::record(
        &mut connection,
        entry,
        pair.ward_id,
        pair.guardian_id,
        true,
        noon(),
    )
    .await
    .unwrap();
}

/// What was told of the ward, newest last: version and limits.
async fn told(pool: &PgPool, ward: AccountId) -> Vec<(i64, i64, i64)> {
    sqlx::query_as(
        "select version, order_limit_fen, month_limit_fen from purchase_allowances
         where ward_account_id = $1 order by version",
    )
    .bind(ward)
    .fetch_all(pool)
    .await
    .unwrap()
}

async fn events(pool: &PgPool) -> i64 {
    sqlx::query_scalar("select count(*) from outbox where type like '%PurchaseAllowanceChanged'")
        .fetch_one(pool)
        .await
        .unwrap()
}

#[sqlx::test]
async fn what_a_guardian_allows_is_told_and_ends_with_the_consent(pool: PgPool) {
    let w = World::new(pool.clone()).await;
    let (guardian_id, ward_id) = (w.account(), w.account());
    let pair = StartGuardianConsent {
        guardian_id,
        ward_id,
    };
    let allow = |limits| w.app.allow_purchases(pair, limits);
    let refused = allow(limits(100, 500)).await.unwrap_err();
    assert!(matches!(refused, Error::NotFound), "no consent stands");
    consent(&w, &pool, pair).await;
    assert_eq!(allow(limits(100, 500)).await.unwrap(), 1);
    assert_eq!(allow(limits(100, 500)).await.unwrap(), 1, "the same again");
    assert_eq!(allow(limits(200, 500)).await.unwrap(), 2);
    let refused = allow(limits(501, 500)).await.unwrap_err();
    assert!(matches!(refused, Error::Invalid { .. }));
    let stranger = StartGuardianConsent {
        guardian_id: w.account(),
        ward_id,
    };
    let refused = w.app.allow_purchases(stranger, limits(1, 1)).await;
    assert!(matches!(refused, Err(Error::NotFound)));
    w.app.withdraw_guardian_consent(pair).await.unwrap();
    let expected = [(1, 100, 500), (2, 200, 500), (3, 0, 0)];
    assert_eq!(told(&pool, ward_id).await, expected);
    assert_eq!(events(&pool).await, 3);
}
