//! What a minor may order: what the guardian allowed.

use billing::events::KeepAllowance;
use chrono::Duration;
use prost_types::Timestamp;
use sqlx::PgPool;
use tonic::{Code, Status};
use tonic_types::StatusExt;
use wanwu_clock::Clock;
use wanwu_ids::AccountId;
use wanwu_proto::{
    billing::v1::{
        AddPaymentChannelRequest, Order, PaymentProvider, order_service_server::OrderService,
    },
    identity::v1::AgeBand,
    privacy::v1::PurchaseAllowanceChanged,
};

use crate::world::{World, reason};

/// The guardian's word that is in force for a day.
pub(crate) async fn allow(world: &World, account: AccountId, version: i64, limits: (i64, i64)) {
    let until = world.clock.now() + Duration::days(1);
    let event = PurchaseAllowanceChanged {
        account_id: account.to_string(),
        version,
        order_limit_fen: limits.0,
        month_limit_fen: limits.1,
        until_time: Some(Timestamp {
            seconds: until.timestamp(),
            nanos: 0,
        }),
    };
    world.hear(KeepAllowance, event).await;
}

async fn order(world: &World, account: AccountId, age: AgeBand, fen: i64) -> Result<Order, Status> {
    let request = world.by_aged(account, age, world.order_request(fen));
    let answer = world.api.create_top_up_order(request).await?;
    Ok(answer.into_inner().order.unwrap())
}

/// Which limit the refusal names.
pub(crate) fn limit(refused: &Status) -> String {
    assert_eq!(refused.code(), Code::PermissionDenied);
    assert_eq!(reason(refused), "PURCHASE_NOT_ALLOWED");
    let details = refused.get_error_details();
    details.error_info().unwrap().metadata["limit"].clone()
}

#[sqlx::test]
async fn a_minor_orders_what_the_guardian_allowed_and_a_child_under_8_nothing(pool: PgPool) {
    let world = World::new(pool).await;
    let minor = world.account();
    let age = AgeBand::AgeBand14To17;
    let refused = order(&world, minor, age, 1).await.unwrap_err();
    assert_eq!(limit(&refused), "none");
    allow(&world, minor, 2, (1000, 2500)).await;
    let refused = order(&world, minor, age, 1001).await.unwrap_err();
    assert_eq!(limit(&refused), "order");
    let first = order(&world, minor, age, 1000).await.unwrap();
    assert_eq!(first.purchase_allowance_version, 2);
    order(&world, minor, age, 1000).await.unwrap();
    let refused = order(&world, minor, age, 501).await.unwrap_err();
    assert_eq!(limit(&refused), "month");
    order(&world, minor, AgeBand::AgeBand8To13, 500)
        .await
        .unwrap();
    // An older word comes late; a newer one takes its place.
    allow(&world, minor, 1, (5_000_000, 100_000_000)).await;
    assert_eq!(
        limit(&order(&world, minor, age, 1).await.unwrap_err()),
        "month"
    );
    allow(&world, minor, 3, (0, 0)).await;
    assert_eq!(
        limit(&order(&world, minor, age, 1).await.unwrap_err()),
        "order"
    );
    allow(&world, minor, 4, (1000, 5000)).await;
    order(&world, minor, age, 1000).await.unwrap();
    world.clock.advance(Duration::days(1));
    assert_eq!(
        limit(&order(&world, minor, age, 1).await.unwrap_err()),
        "time"
    );

    // Nobody allows for a child under 8, and an age that nobody verified is not an adult's.
    let child = world.account();
    allow(&world, child, 1, (1000, 2500)).await;
    for (age, why) in [
        (AgeBand::Under8, "AGE_REFUSED"),
        (AgeBand::Unspecified, "REAL_NAME_REQUIRED"),
    ] {
        let refused = order(&world, child, age, 1).await.unwrap_err();
        assert_eq!(reason(&refused), why);
    }
    // An adult needs nobody.
    let adult = order(&world, world.account(), AgeBand::Adult, 5_000_000).await;
    assert_eq!(adult.unwrap().purchase_allowance_version, 0);
}

#[sqlx::test]
async fn orders_that_end_unpaid_do_not_count_and_neither_does_another_month(pool: PgPool) {
    let world = World::new(pool).await;
    let minor = world.account();
    let age = AgeBand::AgeBand14To17;
    allow(&world, minor, 1, (1000, 1000)).await;
    order(&world, minor, age, 1000).await.unwrap();
    assert_eq!(
        limit(&order(&world, minor, age, 1).await.unwrap_err()),
        "month"
    );
    sqlx::query("update orders set state = 'expired' where account_id = $1")
        .bind(minor)
        .execute(&world.pool)
        .await
        .unwrap();
    order(&world, minor, age, 1000).await.unwrap();
    // 23 November; the word is renewed in December.
    world.clock.advance(Duration::days(8));
    allow(&world, minor, 2, (1000, 1000)).await;
    order(&world, minor, age, 1000).await.unwrap();
    let (one, two) = {
        allow(&world, minor, 3, (1000, 2000)).await;
        tokio::join!(
            order(&world, minor, age, 1000),
            order(&world, minor, age, 1000)
        )
    };
    assert!(one.is_ok() != two.is_ok(), "together they are too much");
}

#[sqlx::test]
async fn a_minors_order_is_offered_further_only_while_the_guardian_still_allows_it(pool: PgPool) {
    let world = World::new(pool).await;
    let minor = world.account();
    allow(&world, minor, 1, (1000, 1000)).await;
    let made = order(&world, minor, AgeBand::AgeBand14To17, 1000)
        .await
        .unwrap();
    let offer = || {
        let request = AddPaymentChannelRequest {
            order_id: made.order_id.clone(),
            provider: PaymentProvider::AlipayPrecreate.into(),
            ..AddPaymentChannelRequest::default()
        };
        world.api.add_payment_channel(world.by(minor, request))
    };
    allow(&world, minor, 2, (0, 0)).await;
    assert_eq!(limit(&offer().await.unwrap_err()), "order");
    // The order itself does not count against its own month.
    allow(&world, minor, 3, (1000, 1000)).await;
    let offered = offer().await.unwrap().into_inner().order.unwrap();
    assert_eq!(offered.channels.len(), 2);
    assert_eq!(offered.purchase_allowance_version, 1);
}
