use std::sync::atomic::Ordering;

use chrono::Duration;
use sqlx::PgPool;
use wanwu_proto::billing::v1::OrderState;

use crate::world::{World, YUAN};

#[sqlx::test]
async fn a_payment_whose_notice_is_lost_is_found_by_asking(pool: PgPool) {
    let world = World::new(pool).await;
    let account = world.account();
    let (order, number) = world.order(account, 1000).await;
    world.wechat.pay(&number);
    world.app().query_unpaid_orders().await.unwrap();
    assert_eq!(world.balance(account).await, (0, 0), "not before 5 s");

    world.clock.advance(Duration::seconds(5));
    // Every replica looks.
    let replica = world.replica();
    let (here, there) = tokio::join!(
        world.app().query_unpaid_orders(),
        replica.0.query_unpaid_orders()
    );
    assert!(here.is_ok() && there.is_ok());
    assert_eq!(world.balance(account).await, (10 * YUAN, 0));
    assert_eq!(world.order_state(account, &order).await, OrderState::Paid);
    assert_eq!(world.wechat.queries.load(Ordering::SeqCst), 1);
    world.assert_sound().await;
    // The late notice repeats what is known.
    assert_eq!(world.notify(world.wechat.pay(&number)).await, 204);
    assert_eq!(world.balance(account).await, (10 * YUAN, 0));
}

#[sqlx::test]
async fn an_unpaid_order_is_asked_about_less_and_less_often(pool: PgPool) {
    let world = World::new(pool).await;
    world.order(world.account(), 1000).await;
    let mut asked = Vec::new();
    for second in 1..=300 {
        world.clock.advance(Duration::seconds(1));
        world.app().query_unpaid_orders().await.unwrap();
        if world.wechat.queries.swap(0, Ordering::SeqCst) > 0 {
            asked.push(second);
        }
    }
    assert_eq!(asked, [5, 15, 35, 75, 155, 275]);
}

#[sqlx::test]
async fn an_order_expires_only_when_the_provider_closed_it(pool: PgPool) {
    let world = World::new(pool).await;
    let account = world.account();
    let (order, number) = world.order(account, 1000).await;
    let state = || world.order_state(account, &order);
    world.clock.advance(Duration::minutes(31));
    for fault in [&world.wechat.fails, &world.wechat.lies] {
        fault.store(true, Ordering::SeqCst);
        world.app().query_unpaid_orders().await.unwrap();
        assert_eq!(state().await, OrderState::AwaitingPayment);
        fault.store(false, Ordering::SeqCst);
        world.clock.advance(Duration::minutes(3));
    }
    world.app().query_unpaid_orders().await.unwrap();
    assert_eq!(state().await, OrderState::Expired);
    assert_eq!(world.wechat.orders.lock()[&number].trade_state, "CLOSED");
}

#[sqlx::test]
async fn an_order_that_is_paid_at_the_last_moment_does_not_expire(pool: PgPool) {
    let world = World::new(pool).await;
    let account = world.account();
    let (order, number) = world.order(account, 1000).await;
    world.wechat.pay(&number);
    world.clock.advance(Duration::minutes(31));
    world.app().query_unpaid_orders().await.unwrap();
    assert_eq!(world.order_state(account, &order).await, OrderState::Paid);
    assert_eq!(world.balance(account).await, (10 * YUAN, 0));
}

#[sqlx::test]
async fn an_order_that_never_reached_the_provider_expires(pool: PgPool) {
    let world = World::new(pool).await;
    let (account, request) = (world.account(), world.order_request(1000));
    world.wechat.fails.store(true, Ordering::SeqCst);
    world.create_order(account, &request).await.unwrap_err();
    world.wechat.fails.store(false, Ordering::SeqCst);
    world.clock.advance(Duration::seconds(60));
    world.app().query_unpaid_orders().await.unwrap();
    let states = "select state from orders";
    let state = || sqlx::query_scalar::<_, String>(states).fetch_one(&world.pool);
    assert_eq!(state().await.unwrap(), "created");
    world.clock.advance(Duration::minutes(31));
    world.app().query_unpaid_orders().await.unwrap();
    assert_eq!(state().await.unwrap(), "expired");
    // Nobody signed that it is not there: had somebody lied, the payment is still found.
    let id: uuid::Uuid = sqlx::query_scalar("select order_id from orders")
        .fetch_one(&world.pool)
        .await
        .unwrap();
    let number = id.simple().to_string();
    let known = crate::wechat_pay::Known {
        total: 1000,
        trade_state: "NOTPAY",
        transaction_id: String::new(),
        time_expire: String::new(),
    };
    world.wechat.orders.lock().insert(number.clone(), known);
    world.wechat.pay(&number);
    world.later(Duration::hours(2)).await;
    assert_eq!(world.balance(account).await, (10 * YUAN, 0));
    assert_eq!(state().await.unwrap(), "paid");
}

#[sqlx::test]
async fn a_signed_absence_ends_an_order_and_an_unsigned_one_does_after_three_days(pool: PgPool) {
    let world = World::new(pool).await;
    let channel = || async {
        let sql = "select state from order_channels";
        let state = sqlx::query_scalar::<_, String>(sql).fetch_one(&world.pool);
        state.await.unwrap()
    };
    let (account, request) = (world.account(), world.order_request(1000));
    world.wechat.fails.store(true, Ordering::SeqCst);
    world.create_order(account, &request).await.unwrap_err();
    world.wechat.fails.store(false, Ordering::SeqCst);
    world.later(Duration::minutes(36)).await;
    assert_eq!(channel().await, "absent");
    world.wechat.signs_refusals.store(true, Ordering::SeqCst);
    world.later(Duration::hours(1)).await;
    assert_eq!(channel().await, "closed");

    sqlx::query("update order_channels set state = 'absent'")
        .execute(&world.pool)
        .await
        .unwrap();
    world.wechat.signs_refusals.store(false, Ordering::SeqCst);
    world.later(Duration::hours(70)).await;
    assert_eq!(channel().await, "absent");
    world.later(Duration::hours(2)).await;
    assert_eq!(channel().await, "closed");
}

#[sqlx::test]
async fn a_true_answer_about_another_order_decides_nothing(pool: PgPool) {
    let world = World::new(pool).await;
    let (payer, other) = (world.account(), world.account());
    let (paid, number) = world.order(payer, 1000).await;
    let (order, _) = world.order(other, 1000).await;
    world.wechat.pay(&number);
    *world.wechat.confuses.lock() = Some(number);
    world.clock.advance(Duration::minutes(31));
    world.app().query_unpaid_orders().await.unwrap();
    assert_eq!(world.order_state(payer, &paid).await, OrderState::Paid);
    let state = world.order_state(other, &order).await;
    assert_eq!(state, OrderState::AwaitingPayment);
    assert_eq!(world.balance(other).await, (0, 0));
}
