//! An account is told when what it holds falls below what it said.

use sqlx::PgPool;
use tonic::Code;
use wanwu_ids::AccountId;
use wanwu_proto::billing::v1::{
    GetBalanceRequest, SetBalanceAlertRequest, balance_service_server::BalanceService,
};
use wanwu_proto::google::r#type::Money;

use crate::{
    budgets::money,
    world::{PRICES, World, YUAN, nanos, reason},
};

async fn set(world: &World, account: AccountId, below: Option<i64>) {
    let below = below.map(money);
    let request = world.by(account, SetBalanceAlertRequest { below });
    world.api.set_balance_alert(request).await.unwrap();
}

/// Messages of a type that wait to be told.
async fn waiting(world: &World, name: &str) -> i64 {
    let sql = "select count(*) from outbox where type = $1";
    let count = sqlx::query_scalar(sql).bind(name).fetch_one(&world.pool);
    count.await.unwrap()
}

async fn tell(world: &World) -> usize {
    let replica = world.replica();
    let (one, two) = tokio::join!(
        world.app().tell_low_balances(),
        replica.0.tell_low_balances()
    );
    one.unwrap() + two.unwrap()
}

#[sqlx::test]
async fn a_low_balance_is_told_once_each_time_that_it_falls(pool: PgPool) {
    let world = World::new(pool).await;
    let account = world.customer(200).await;
    set(&world, account, Some(YUAN)).await;
    assert_eq!(tell(&world).await, 0);
    // What is set aside is held still.
    let lease = world.lease(account, world.epoch(), 2 * YUAN).await;
    assert_eq!(tell(&world).await, 0);
    let usage = world.usage(&lease, 0, 1_000_000);
    world.settle(&usage).await.unwrap();
    assert_eq!(tell(&world).await, 1);
    assert_eq!(tell(&world).await, 0, "once");
    let (order, number) = world.order(account, 500).await;
    assert_eq!(world.notify(world.wechat.pay(&number)).await, 204);
    assert_eq!(tell(&world).await, 0, "{} is paid", order.order_id);
    assert!(world.close(&lease, 1, 1_000_000 * PRICES.1).await.unwrap());
    let lease = world.lease(account, world.epoch(), 5 * YUAN).await;
    let usage = world.usage(&lease, 0, 3_800_000);
    world.settle(&usage).await.unwrap();
    assert_eq!(tell(&world).await, 1, "it fell again");
    assert_eq!(waiting(&world, "wanwu.billing.v1.BalanceLow").await, 2);
    let request = world.by(account, GetBalanceRequest {});
    let balance = world.api.get_balance(request).await.unwrap().into_inner();
    assert_eq!(nanos(balance.alert_below), YUAN);
    set(&world, account, None).await;
    let (_, number) = world.order(account, 500).await;
    assert_eq!(world.notify(world.wechat.pay(&number)).await, 204);
    let lease = world.lease(account, world.epoch(), 5 * YUAN).await;
    world
        .settle(&world.usage(&lease, 0, 3_800_000))
        .await
        .unwrap();
    assert_eq!(tell(&world).await, 0, "nobody wants to know");
    for below in [
        money(0),
        Money {
            units: -1,
            ..money(1)
        },
    ] {
        let below = Some(below);
        let request = world.by(account, SetBalanceAlertRequest { below });
        let refused = world.api.set_balance_alert(request).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument);
    }
}

#[sqlx::test]
async fn an_account_whose_credit_ran_out_gets_one_message_a_day(pool: PgPool) {
    let world = World::new(pool).await;
    let account = world.customer(100).await;
    let paid = waiting(&world, "wanwu.identity.v1.NotificationRequested").await;
    let request = world.lease_request(account, world.epoch(), 2 * YUAN, 2 * YUAN);
    for hours in [0, 12, 11, 2] {
        world.clock.advance(chrono::Duration::hours(hours));
        let refused = world.acquire(&request).await.unwrap_err();
        assert_eq!(reason(&refused), "INSUFFICIENT_BALANCE");
    }
    let told = waiting(&world, "wanwu.identity.v1.NotificationRequested").await;
    assert_eq!(told - paid, 2);
    assert_eq!(
        waiting(&world, "wanwu.billing.v1.BalanceExhausted").await,
        4
    );
    // Who never had credit is not told that it ran out.
    let nobody = world.lease_request(world.account(), world.epoch(), 1, 1);
    world.acquire(&nobody).await.unwrap_err();
    let again = waiting(&world, "wanwu.identity.v1.NotificationRequested").await;
    assert_eq!(again, told);
}
