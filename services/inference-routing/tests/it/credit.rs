//! Credit: never overspent, never stranded.

use std::time::Duration;

use inference_routing::{Error, config::Sections};
use serde_json::json;
use sqlx::PgPool;

use crate::{
    metrics::Metrics,
    world::{World, billing::events, chat, id, read, rows, wait_for},
};

#[sqlx::test]
async fn a_call_without_enough_credit_is_refused_before_it_reaches_an_engine(pool: PgPool) {
    let world = World::start(pool.clone()).await;
    world.billing.set(world.caller.account_id, 50);
    let mut body = chat(true, json!({"tokens": 1}));
    body["max_tokens"] = json!(100);
    let error = world.call(&body).await.unwrap_err();
    assert!(matches!(error, Error::InsufficientBalance));
    assert_eq!((world.engine.calls(), rows::count(&pool).await), (0, 0));
}

#[sqlx::test]
async fn a_call_without_a_limit_gets_as_many_tokens_as_the_credit_covers(pool: PgPool) {
    let world = World::start(pool).await;
    let body = chat(true, json!({"tokens": 30}));
    let input = (body.to_string().len() as i64 + 16) * 2;
    world.billing.set(world.caller.account_id, input + 10 * 40);
    let got = world.call(&body).await.unwrap();
    assert_eq!(got.error, None);
    let sent: serde_json::Value = serde_json::from_slice(&world.engine.only().body).unwrap();
    assert_eq!(sent["max_tokens"], 40);
}

#[sqlx::test]
async fn many_calls_ask_billing_once(pool: PgPool) {
    let world = World::start(pool).await;
    let body = chat(true, json!({"tokens": 3}));
    let calls = (0..40).map(|_| world.call(&body));
    for call in futures::future::join_all(calls).await {
        assert_eq!(call.unwrap().error, None);
    }
    assert!(world.billing.asked() <= 3, "{}", world.billing.asked());
}

#[sqlx::test]
async fn the_next_lease_is_there_before_a_call_needs_it(pool: PgPool) {
    let metrics = Metrics::collected();
    let small = |config: &mut Sections| {
        config.leases.want_factor = 4;
        config.leases.want_nanos = 1;
    };
    let world = World::with(pool, small).await;
    let mut body = chat(true, json!({"tokens": 2}));
    body["max_tokens"] = json!(100);
    // A first small lease tells the price. Four calls fit into the next; the third leaves less than
    // half of it.
    let calls = (0..3).map(|_| world.call(&body));
    for call in futures::future::join_all(calls).await {
        assert_eq!(call.unwrap().error, None);
    }
    wait_for("the next lease", async || world.billing.leases().len() > 2).await;
    let granted = [("outcome", "granted")];
    wait_for("it to be told", async || {
        metrics.sum("inference_routing_credit_ahead", &granted) >= 1.0
    })
    .await;
    // Both are spent without another answer of billing's.
    world.billing.go_down(true);
    let calls = (0..6).map(|_| world.call(&body));
    for call in futures::future::join_all(calls).await {
        assert_eq!(call.unwrap().error, None);
    }
}

#[sqlx::test]
async fn concurrent_calls_never_spend_more_than_the_balance(pool: PgPool) {
    let world = World::start(pool.clone()).await;
    let balance = 20_000;
    world.billing.set(world.caller.account_id, balance);
    let mut body = chat(true, json!({"tokens": 100}));
    body["max_tokens"] = json!(100);
    let calls = (0..50).map(|_| world.call(&body));
    let results = futures::future::join_all(calls).await;
    let paid = results.iter().filter(|result| result.is_ok()).count();
    let refused = results
        .iter()
        .filter(|r| matches!(r, Err(Error::InsufficientBalance)))
        .count();
    assert!(
        paid > 0 && refused > 0 && paid + refused == 50,
        "{paid} paid, {refused} refused"
    );
    let spent: i64 = events(&pool)
        .await
        .iter()
        .map(|event| event.amount_nanos)
        .sum();
    assert!(spent <= balance, "{spent}");
}

#[sqlx::test]
async fn idle_credit_goes_back_with_the_count_and_the_sum_of_its_calls(pool: PgPool) {
    let world = World::with(pool, |config| {
        config.leases.idle = Duration::from_millis(100)
    })
    .await;
    let account = world.caller.account_id;
    world.call(&chat(true, json!({"tokens": 3}))).await.unwrap();
    world.call(&chat(true, json!({"tokens": 4}))).await.unwrap();
    wait_for("the lease to be freed", async || {
        world.billing.leases()[0].freed
    })
    .await;
    let paid = 2 * (9 * 2) + 3 * 10 + 4 * 10;
    assert_eq!(world.billing.leases()[0].closed, Some((2, paid)));
    assert_eq!(world.billing.free(account), 1_000_000_000 - paid);
}

#[sqlx::test]
async fn what_was_lent_without_an_answer_goes_back_though_nobody_calls_again(pool: PgPool) {
    let world = World::with(pool, |config| {
        config.leases.idle = Duration::from_millis(100)
    })
    .await;
    let account = world.caller.account_id;
    let before = world.billing.free(account);
    world.billing.lose_answers(true);
    let refused = world.call(&chat(true, json!({"tokens": 3}))).await;
    assert!(matches!(refused, Err(Error::Unavailable(_))));
    assert!(world.billing.free(account) < before);
    // Long enough for a router to forget an account that it holds nothing of.
    tokio::time::sleep(Duration::from_secs(1)).await;
    world.billing.lose_answers(false);
    wait_for("the lease to be freed", async || {
        world.billing.leases().iter().all(|lent| lent.freed)
    })
    .await;
    assert_eq!(world.billing.leases()[0].closed, Some((0, 0)));
    assert_eq!(world.billing.free(account), before);
}

#[sqlx::test]
async fn recalled_credit_goes_back_at_once_and_used_credit_when_its_calls_end(pool: PgPool) {
    let world = World::start(pool).await;
    let account = world.caller.account_id;
    let script = json!({"tokens": 20, "delay_ms": 20});
    let reply = world.begin(&chat(true, script)).await.unwrap();
    world.billing.recall(account);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(world.billing.leases()[0].closed.is_none());
    crate::world::read(reply).await;
    wait_for("the lease to be freed", async || {
        world.billing.leases()[0].freed
    })
    .await;

    world.call(&chat(true, json!({"tokens": 1}))).await.unwrap();
    world.billing.recall(account);
    wait_for("both leases to be freed", async || {
        world
            .billing
            .leases()
            .iter()
            .filter(|lent| lent.freed)
            .count()
            == 2
    })
    .await;
}

#[sqlx::test]
async fn a_silent_billing_refuses_new_calls_only_when_credit_is_short(pool: PgPool) {
    let world = World::with(pool, |config| {
        // A lease is for four calls like the one that needs it.
        config.leases.want_factor = 4;
        config.leases.want_nanos = 1;
    })
    .await;
    let mut body = chat(true, json!({"tokens": 1}));
    body["max_tokens"] = json!(100);
    world.call(&body).await.unwrap();
    world.billing.go_down(true);
    world.call(&body).await.unwrap();
    let mut long = body;
    long["n"] = json!(128);
    long["max_tokens"] = json!(4096);
    let refused = world.call(&long).await.unwrap_err();
    assert!(matches!(refused, Error::Unavailable(_)), "{refused:?}");
    world.billing.go_down(false);
    world.call(&long).await.unwrap();
}

#[sqlx::test]
async fn at_the_end_of_the_process_all_credit_goes_back(pool: PgPool) {
    let mut world = World::start(pool.clone()).await;
    world.call(&chat(true, json!({"tokens": 3}))).await.unwrap();
    world.shut_down().await;
    let account = world.caller.account_id;
    let paid = 9 * 2 + 3 * 10;
    assert_eq!(world.billing.settle(account).await, 1_000_000_000 - paid);
}

#[sqlx::test]
async fn a_recall_does_not_strand_what_is_left_in_a_used_lease(pool: PgPool) {
    let world = World::start(pool).await;
    let account = world.caller.account_id;
    world.billing.set(account, 100_000);
    let script = json!({"tokens": 100, "delay_ms": 20});
    let running = world.begin(&chat(true, script)).await.unwrap();
    assert_eq!(
        world.billing.free(account),
        0,
        "everything is in that lease"
    );
    world.billing.recall(account);
    wait_for("what no call holds to come back", async || {
        world.billing.free(account) > 0
    })
    .await;
    assert!(world.billing.leases()[0].closed.is_none());
    // It is there for other replicas, and for this one.
    world.call(&chat(true, json!({"tokens": 1}))).await.unwrap();
    crate::world::read(running).await;
    world.billing.recall(account);
    wait_for("every lease to be freed", async || {
        world.billing.leases().iter().all(|lent| lent.freed)
    })
    .await;
}

#[sqlx::test]
async fn a_budget_holds_within_a_second_where_the_router_has_credit_already(pool: PgPool) {
    let world = World::start(pool).await;
    let body = chat(false, json!({"tokens": 3}));
    world.call(&body).await.unwrap();
    let caller = world.caller;
    world
        .billing
        .set_budget(caller.account_id, caller.key_id, 0);
    let begin = std::time::Instant::now();
    while world.call(&body).await.is_ok() {
        assert!(
            begin.elapsed() < Duration::from_secs(1),
            "calls are answered still"
        );
    }
    let error = world.call(&body).await.unwrap_err();
    assert!(matches!(error, Error::BudgetExhausted { .. }), "{error:?}");
}

#[sqlx::test]
async fn a_key_with_a_budget_for_three_calls_gets_exactly_three_over_two_routers(pool: PgPool) {
    let world = World::start(pool.clone()).await;
    // Enough for a lease of each.
    world.billing.give(world.caller.account_id, 9_000_000_000);
    let second = world.second(|_| {}).await;
    let mut body = chat(false, json!({"tokens": 3}));
    body["max_tokens"] = json!(3);
    // Both routers have credit for the whole account.
    for app in [&world.app, &second.app] {
        read(app.chat.create(world.request(&body)).await.unwrap()).await;
    }
    let before: i64 = events(&pool).await.iter().map(|e| e.amount_nanos).sum();
    let (cost, highest) = (
        before / 2,
        (body.to_string().len() as i64 + 16) * 2 + 3 * 10,
    );
    let budget = before + highest + 2 * cost;
    let caller = world.caller;
    world
        .billing
        .set_budget(caller.account_id, caller.key_id, budget);
    tokio::time::sleep(Duration::from_millis(300)).await;
    let (mut answered, mut refused) = (0, 0);
    // What the other router holds comes back when it is asked for.
    while refused < 6 {
        for app in [&world.app, &second.app] {
            match app.chat.create(world.request(&body)).await {
                Ok(reply) => {
                    assert_eq!(read(reply).await.error, None);
                    (answered, refused) = (answered + 1, 0);
                }
                Err(Error::BudgetExhausted { subject }) => {
                    assert_eq!(subject, "key");
                    refused += 1;
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                Err(other) => panic!("{other:?}"),
            }
        }
    }
    assert_eq!(answered, 3);
    let spent: i64 = events(&pool).await.iter().map(|e| e.amount_nanos).sum();
    assert!(spent <= budget, "{spent} of {budget}");
    // Another key of the app is not bound.
    let mut other = world.request(&body);
    other.caller.key_id = id();
    read(world.app.chat.create(other).await.unwrap()).await;
}
