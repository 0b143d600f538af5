use std::sync::atomic::Ordering;

use chrono::Duration;
use sqlx::PgPool;
use tonic::Status;
use wanwu_ids::AccountId;
use wanwu_proto::billing::v1::{
    CancelOrderRequest, Order, OrderState, order_service_server::OrderService,
};

use crate::world::{World, YUAN, reason};

async fn cancel(world: &World, account: AccountId, order: &Order) -> Result<OrderState, Status> {
    let order_id = order.order_id.clone();
    let request = world.by(account, CancelOrderRequest { order_id });
    let answer = world.api.cancel_order(request).await?;
    Ok(answer.into_inner().order.unwrap().state())
}

#[sqlx::test]
async fn a_cancelled_order_is_closed_at_its_provider_first(pool: PgPool) {
    let world = World::new(pool).await;
    let account = world.account();
    let (order, number) = world.order(account, 1000).await;
    let stranger = cancel(&world, world.account(), &order).await;
    assert_eq!(reason(&stranger.unwrap_err()), "NOT_FOUND");

    world.wechat.fails.store(true, Ordering::SeqCst);
    let state = cancel(&world, account, &order).await.unwrap();
    assert_eq!(state, OrderState::Cancelling, "the provider did not say so");
    world.wechat.fails.store(false, Ordering::SeqCst);
    world.later(Duration::seconds(30)).await;
    assert_eq!(world.wechat.orders.lock()[&number].trade_state, "CLOSED");
    let state = cancel(&world, account, &order).await.unwrap();
    assert_eq!(state, OrderState::Cancelled);
}

#[sqlx::test]
async fn what_is_paid_after_a_cancellation_goes_back_by_itself(pool: PgPool) {
    let world = World::new(pool).await;
    let account = world.account();
    let (order, number) = world.order(account, 1000).await;
    world.offer_at_alipay(account, &order).await;
    let state = cancel(&world, account, &order).await.unwrap();
    assert_eq!(state, OrderState::Cancelled);
    // A code that nobody had scanned cannot be closed: the payer was quick.
    let notice = world.alipay.notice(&world.alipay.pay(&number));
    for _ in 0..3 {
        assert_eq!(world.notify_alipay(notice.clone()).await.0, 200);
    }
    assert_eq!(world.notify(world.wechat.pay(&number)).await, 204);
    for _ in 0..3 {
        world.later(Duration::minutes(1)).await;
    }
    assert_eq!(world.balance(account).await, (0, 0));
    assert_eq!(world.refund_due(account).await, 0);
    assert_eq!(world.alipay.refunded.load(Ordering::SeqCst), 1);
    assert_eq!(world.wechat.refunds.lock().len(), 1);
    let state = world.order_state(account, &order).await;
    assert_eq!(state, OrderState::Cancelled);
    world.assert_sound().await;
}

#[sqlx::test]
async fn a_payer_who_was_faster_than_the_cancellation_is_credited(pool: PgPool) {
    let world = World::new(pool).await;
    let account = world.account();
    let (order, number) = world.order(account, 1000).await;
    world.wechat.pay(&number);
    let state = cancel(&world, account, &order).await.unwrap();
    assert_eq!(state, OrderState::Paid);
    assert_eq!(world.balance(account).await, (10 * YUAN, 0));
    let (order, _) = world.order(account, 1000).await;
    world.later(Duration::minutes(31)).await;
    let expired = cancel(&world, account, &order).await.unwrap_err();
    assert_eq!(reason(&expired), "ORDER_NOT_PAYABLE");
}
