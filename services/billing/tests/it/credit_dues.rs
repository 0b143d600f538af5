//! What an enterprise owes is due a month later: overdue, it stops lending beyond zero; both are told.

use billing::domain::money::NANOS_PER_FEN;
use sqlx::PgPool;
use wanwu_clock::Clock;
use wanwu_ids::AccountId;

use crate::{
    credit_limits::{at, credit, due, grant, lendable, spend, top_up},
    terminations::notifications,
    world::{World, YUAN, nanos},
};

#[sqlx::test]
async fn what_is_overdue_stops_lending_beyond_zero_until_it_is_paid(pool: PgPool) {
    let world = World::new(pool).await;
    let account = world.account();
    grant(&world, account, 10).await;
    let november = spend(&world, &world.lease(account, world.epoch(), 4 * YUAN).await).await;
    // A month later; what is used in it is due a month later too.
    let move_to = |time: &str| world.clock.advance(at(time) - world.clock.now());
    move_to("2026-11-30T16:30:00Z");
    assert_eq!(world.app().close_credit_months().await.unwrap(), 0);
    move_to("2026-11-30T17:00:00Z");
    assert_eq!(world.app().close_credit_months().await.unwrap(), 1);
    assert_eq!(world.app().close_credit_months().await.unwrap(), 0);
    let december = spend(&world, &world.lease(account, world.epoch(), YUAN).await).await;
    move_to("2026-12-20T15:59:59Z");
    let before = credit(&world, account).await;
    assert_eq!(nanos(before.owed.clone()), november + december);
    assert_eq!(due(&before), Some(at("2026-12-20T16:00:00Z")));
    assert_eq!(nanos(before.overdue), 0);
    assert_eq!(
        lendable(&world, account).await,
        10 * YUAN - november - december
    );
    let running = world.lease(account, world.epoch(), YUAN).await;

    move_to("2026-12-20T16:00:00Z");
    assert_eq!(nanos(credit(&world, account).await.overdue), november);
    assert_eq!(lendable(&world, account).await, 0);
    // Running calls go on.
    let december = december + spend(&world, &running).await;
    // A part is not enough; all of it is, though December's is still owed.
    top_up(&world, account, 300).await;
    assert_eq!(
        nanos(credit(&world, account).await.overdue),
        november - 3 * YUAN
    );
    assert_eq!(lendable(&world, account).await, 0);
    top_up(&world, account, 100).await;
    let after = credit(&world, account).await;
    assert_eq!(nanos(after.overdue.clone()), 0);
    let owed = november + december - 4 * YUAN;
    assert_eq!(nanos(after.owed.clone()), owed);
    assert_eq!(due(&after), Some(at("2027-01-20T16:00:00Z")));
    assert_eq!(lendable(&world, account).await, 10 * YUAN - owed);
    world.assert_sound().await;

    // Two months were missed: both are closed, each with its date.
    move_to("2027-01-31T17:00:00Z");
    assert_eq!(world.app().close_credit_months().await.unwrap(), 2);
    assert_eq!(nanos(credit(&world, account).await.overdue), owed);
    // What is paid beyond what is owed can be spent whatever is overdue.
    top_up(&world, account, 300).await;
    let free = 3 * YUAN - owed;
    assert_eq!(world.balance(account).await, (free, 0));
    assert_eq!(lendable(&world, account).await, 10 * YUAN + free);
}

#[sqlx::test]
async fn who_owes_is_told_when_it_is_due_and_once_when_it_is_overdue(pool: PgPool) {
    let world = World::new(pool).await;
    let (owes, pays, neither) = (world.account(), world.account(), world.account());
    for account in [owes, pays, neither] {
        grant(&world, account, 10).await;
    }
    let owed = spend(&world, &world.lease(owes, world.epoch(), 4 * YUAN).await).await;
    spend(&world, &world.lease(pays, world.epoch(), 2 * YUAN).await).await;
    let move_to = |time: &str| world.clock.advance(at(time) - world.clock.now());
    move_to("2026-11-30T17:00:00Z");
    assert_eq!(world.app().remind_of_dues().await.unwrap(), 0);
    world.app().close_credit_months().await.unwrap();
    // Two replicas at once tell each once.
    let replica = world.app();
    let both = tokio::join!(replica.remind_of_dues(), replica.remind_of_dues());
    assert_eq!(both.0.unwrap() + both.1.unwrap(), 2);
    let told = notifications(&world).await;
    let of = |account: AccountId| {
        let account = account.to_string();
        let told = told.iter().filter(|it| it.account_id == account);
        let shown = told.map(|it| (it.template.as_str(), it.params["date"].as_str()));
        shown.collect::<Vec<_>>()
    };
    assert_eq!(of(owes), [("credit_due", "2026-12-20")]);
    assert_eq!(of(pays), [("credit_due", "2026-12-20")]);
    assert_eq!(of(neither), []);
    // What is said covers what is owed, to the last part of a fen.
    assert!(owed <= 4 * YUAN && owed > 4 * YUAN - NANOS_PER_FEN);
    top_up(&world, pays, 200).await;
    move_to("2026-12-20T15:59:59Z");
    assert_eq!(world.app().remind_of_dues().await.unwrap(), 0);
    move_to("2026-12-20T16:00:00Z");
    assert_eq!(world.app().remind_of_dues().await.unwrap(), 1);
    assert_eq!(world.app().remind_of_dues().await.unwrap(), 0);
    let last = notifications(&world).await.pop().unwrap();
    assert_eq!(last.account_id, owes.to_string());
    assert_eq!(last.template, "credit_overdue");
    assert_eq!(last.params["date"], "2026-12-20");
    assert_eq!(last.params["amount"], "4.00");
}

#[sqlx::test]
async fn what_is_paid_can_be_spent_while_something_is_overdue(pool: PgPool) {
    let world = World::new(pool).await;
    let account = world.customer(100).await;
    grant(&world, account, 10).await;
    sqlx::query("insert into credit_dues values ($1, '2026-10-01', 5000000000, $2, $2)")
        .bind(account)
        .bind(world.clock.now())
        .execute(&world.pool)
        .await
        .unwrap();
    assert_eq!(nanos(credit(&world, account).await.overdue), 4 * YUAN);
    assert_eq!(lendable(&world, account).await, YUAN);
}
