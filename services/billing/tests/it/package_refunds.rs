//! What goes back of a package is taken from the package.

use chrono::Duration;
use sqlx::PgPool;
use wanwu_clock::Clock;
use wanwu_ids::AccountId;
use wanwu_proto::billing::v1::{CreateTopUpOrderRequest, TerminationState};

use crate::{
    money_questions::refund,
    packages::{PRODUCTS, booked, lease, left, publish, spend},
    terminations::{earliest, noticed, read},
    world::{PRICES, World, YUAN, nanos},
};

/// Worth 1.5 yuan, bought for 1.
const CREDIT: i64 = 1_500_000_000;
/// Tokens of answer that are spent of it, and their cost.
const OUTPUT: i64 = 600_000;
const SPENT: i64 = OUTPUT * PRICES.1;

/// A customer with 10 yuan of their own who bought the package, and its order.
async fn buyer(world: &World) -> (AccountId, String) {
    let account = world.customer(1000).await;
    let order = buy(world, account).await;
    (account, order)
}

/// The order of the package.
async fn buy(world: &World, account: AccountId) -> String {
    publish(world, PRODUCTS).await;
    let wanted = CreateTopUpOrderRequest {
        package_product: "sold".to_owned(),
        ..world.order_request(100)
    };
    let order = world.create_order(account, &wanted).await.unwrap();
    let number = order.order_id.replace('-', "");
    assert_eq!(world.notify(world.wechat.pay(&number)).await, 204);
    order.order_id
}

#[sqlx::test]
async fn the_price_of_a_package_goes_back_with_what_is_left_of_it(pool: PgPool) {
    let world = World::new(pool).await;
    let (account, order) = buyer(&world).await;
    // A part of the price is as large a part of the credit.
    refund(&world, &order, 40).await;
    assert_eq!(left(&world, account, "sold").await, CREDIT * 6 / 10);
    assert_eq!(booked(&world, account, "discount").await, -300_000_000);
    refund(&world, &order, 60).await;
    assert_eq!(left(&world, account, "sold").await, 0);
    assert_eq!(booked(&world, account, "discount").await, 0);
    world.later(Duration::minutes(1)).await;
    assert_eq!(world.refund_due(account).await, 0);
    assert_eq!(world.balance(account).await, (10 * YUAN, 0), "not touched");
    world.assert_sound().await;
}

#[sqlx::test]
async fn what_was_spent_of_a_package_goes_back_after_what_is_left_of_it(pool: PgPool) {
    let world = World::new(pool).await;
    let (account, order) = buyer(&world).await;
    let lent = lease(&world, account, "scripted", YUAN).await;
    spend(&world, &lent, OUTPUT).await;
    let unspent = (CREDIT - SPENT) * 2 / 3;
    refund(&world, &order, 100).await;
    assert_eq!(left(&world, account, "sold").await, 0);
    assert_eq!(
        booked(&world, account, "revenue").await,
        SPENT - (YUAN - unspent)
    );
    assert_eq!(world.refund_due(account).await, YUAN);
    assert_eq!(world.balance(account).await, (10 * YUAN, 0));
    world.assert_sound().await;
}

#[sqlx::test]
async fn what_ended_unused_can_go_back(pool: PgPool) {
    let world = World::new(pool).await;
    let (account, order) = buyer(&world).await;
    world.clock.advance(Duration::days(31));
    world.app().expire_packages().await.unwrap();
    assert_eq!(booked(&world, account, "expired").await, CREDIT);
    refund(&world, &order, 100).await;
    assert_eq!(booked(&world, account, "expired").await, CREDIT - YUAN);
    assert_eq!(world.refund_due(account).await, YUAN);
    world.assert_sound().await;
}

#[sqlx::test]
async fn at_the_end_of_a_contract_a_package_gets_back_what_is_left_of_its_price(pool: PgPool) {
    let world = World::new(pool).await;
    let account = world.account();
    let it = noticed(&world, account).await;
    // Bought later, it is not over when the contract ends.
    world.clock.advance(Duration::days(10));
    let order = buy(&world, account).await;
    let lent = lease(&world, account, "scripted", YUAN).await;
    spend(&world, &lent, OUTPUT).await;
    world.clock.advance(earliest() - world.clock.now());
    for _ in 0..2 {
        world.app().end_contracts().await.unwrap();
    }
    let ended = read(&world, &it).await;
    assert_eq!(ended.state(), TerminationState::Ended);
    assert_eq!(ended.compensations.len(), 1);
    let back = &ended.compensations[0];
    assert_eq!(back.order_id, order);
    let unspent = (CREDIT - SPENT) * 2 / 3;
    assert_eq!(nanos(back.unspent.clone()), unspent);
    // To whole fen for the customer's good.
    assert_eq!(
        nanos(back.amount.clone()),
        (unspent + 9_999_999) / 10_000_000 * 10_000_000
    );
    assert_eq!(left(&world, account, "sold").await, 0);
    assert_eq!(nanos(ended.by_bank), 0, "nothing else is there");
    world.assert_sound().await;
}
