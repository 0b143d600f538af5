//! Limits of keys, apps and accounts, over one replica and over four.

use std::{
    num::NonZeroU64,
    time::{Duration, Instant},
};

use futures::future::join_all;
use inference_routing::{
    Error,
    commands::{
        chat::Caller,
        limits::{list_limits, set_account_limits, set_limits},
    },
    domain::limits::{Level, Limits, Priority, Quantity, Rule, Subject},
};
use parking_lot::Mutex;
use serde_json::json;
use sqlx::PgPool;

use crate::{
    metrics::Metrics,
    world::{Second, World, chat, id, read, wait_for},
};

const fn limits(requests: u64, tokens: u64, calls: u64) -> Limits {
    Limits {
        requests_per_minute: NonZeroU64::new(requests),
        tokens_per_minute: NonZeroU64::new(tokens),
        concurrent_calls: NonZeroU64::new(calls),
    }
}

const fn rule(limits: Limits) -> Rule {
    Rule {
        limits,
        priority: None,
    }
}

/// A router with three more on the same database, whose keys have these limits.
async fn four(pool: &PgPool, of_key: Limits) -> (World, Vec<Second>) {
    let world = World::start(pool.clone()).await;
    let caller = world.caller;
    world.billing.give(caller.account_id, 1_000_000_000_000);
    let key = Subject::key(caller.key_id);
    set_limits(pool, caller.account_id, key, rule(of_key))
        .await
        .unwrap();
    let mut others = Vec::new();
    for _ in 0..3 {
        others.push(world.second(|_| {}).await);
    }
    // The first one read the rules before this one was set.
    limits_are_read().await;
    (world, others)
}

/// Sets the limits of the caller's account, app or key.
async fn limit(world: &World, level: Level, to: Limits) {
    let caller = world.caller;
    let (pool, account, rule) = (&world.pool, caller.account_id, rule(to));
    let set = match level {
        Level::Account => {
            let platform = world.app.chat.limiter.platform();
            set_account_limits(pool, id(), account, rule, platform).await
        }
        Level::App => set_limits(pool, account, Subject::app(caller.app_id), rule).await,
        Level::Key => set_limits(pool, account, Subject::key(caller.key_id), rule).await,
    };
    set.unwrap();
}

/// Routers read limits twice a second.
async fn limits_are_read() {
    tokio::time::sleep(Duration::from_millis(700)).await;
}

/// A caller, another key of the same app, and another app of the same account: in turn, whose calls come
/// to the end of what the key, the app and the account may.
fn callers(first: Caller) -> [(Caller, Level); 3] {
    let key = Caller {
        key_id: id(),
        ..first
    };
    let app = Caller {
        app_id: id(),
        ..key
    };
    [
        (first, Level::Key),
        (key, Level::App),
        (app, Level::Account),
    ]
}

/// So many calls at once, spread over so many replicas: how many were let through, and a refusal.
async fn at_once(
    world: &World,
    others: &[Second],
    replicas: usize,
    count: usize,
    tokens: u64,
) -> (usize, Option<Error>) {
    let mut body = chat(true, json!({"tokens": 2, "delay_ms": 400}));
    body["max_tokens"] = json!(tokens);
    let calls = (0..count).map(|n| {
        let app = match n % replicas {
            0 => &world.app,
            at => &others[at - 1].app,
        };
        let request = world.request(&body);
        async move { Ok(read(app.chat.create(request).await?).await) }
    });
    let mut refusal = None;
    let mut passed = 0;
    for outcome in join_all(calls).await {
        match outcome {
            Ok(got) if got.error.is_none() => passed += 1,
            Ok(got) => panic!("{:?}", got.error),
            Err(error) => refusal = Some(error),
        }
    }
    (passed, refusal)
}

fn reached(refusal: Option<Error>) -> (Level, Quantity, Duration) {
    match refusal {
        Some(Error::LimitReached(reached)) => (
            reached.bound.subject.level,
            reached.bound.quantity,
            reached.retry_after,
        ),
        other => panic!("{other:?}"),
    }
}

#[sqlx::test]
async fn requests_of_a_minute_are_never_more_over_one_replica(pool: PgPool) {
    let (world, others) = four(&pool, limits(50, 0, 0)).await;
    let (passed, refusal) = at_once(&world, &others, 1, 200, 8).await;
    // Some fill in while it runs.
    assert!((50..=53).contains(&passed), "{passed}");
    let (level, quantity, retry_after) = reached(refusal);
    assert_eq!((level, quantity), (Level::Key, Quantity::Requests));
    assert!(retry_after > Duration::ZERO && retry_after <= Duration::from_millis(1300));
}

#[sqlx::test]
async fn requests_of_a_minute_are_never_more_over_four_replicas(pool: PgPool) {
    let (world, others) = four(&pool, limits(50, 0, 0)).await;
    let (passed, refusal) = at_once(&world, &others, 4, 200, 8).await;
    assert!((47..=53).contains(&passed), "{passed}");
    assert_eq!(reached(refusal).1, Quantity::Requests);
}

#[sqlx::test]
async fn calls_at_a_time_are_never_more_over_four_replicas(pool: PgPool) {
    let (world, others) = four(&pool, limits(0, 0, 50)).await;
    for _ in 0..2 {
        let (passed, refusal) = at_once(&world, &others, 4, 200, 8).await;
        assert!((47..=50).contains(&passed), "{passed}");
        assert_eq!(reached(refusal).1, Quantity::Calls);
        // Those that ended have given their places back.
        tokio::time::sleep(Duration::from_millis(1500)).await;
    }
}

#[sqlx::test]
async fn tokens_are_taken_before_a_call_and_what_it_did_not_use_comes_back(pool: PgPool) {
    let (world, others) = four(&pool, limits(0, 5000, 0)).await;
    // Each may use 90 and some of its prompt, and uses a few.
    let (passed, refusal) = at_once(&world, &others, 4, 200, 90).await;
    assert!((40..=58).contains(&passed), "{passed}");
    assert_eq!(reached(refusal).1, Quantity::Tokens);
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let (again, _) = at_once(&world, &others, 4, 30, 90).await;
    assert_eq!(again, 30);
}

/// Each limit of an app or an account, over four replicas.
async fn each_limit_holds(pool: &PgPool, level: Level) {
    let (mut world, others) = four(pool, limits(0, 0, 0)).await;
    for (of_level, quantity, passes) in [
        (limits(20, 0, 0), Quantity::Requests, 17..=23),
        (limits(0, 0, 20), Quantity::Calls, 17..=20),
        (limits(0, 2000, 0), Quantity::Tokens, 14..=24),
    ] {
        // Who has not called yet: a wider limit of the same quantity, as the platform has for every
        // account, has been taken from by nobody.
        world.caller = Caller {
            account_id: id(),
            app_id: id(),
            key_id: id(),
        };
        let account = world.caller.account_id;
        world.billing.give(account, 1_000_000_000_000);
        limit(&world, level, of_level).await;
        limits_are_read().await;
        let (passed, refusal) = at_once(&world, &others, 4, 80, 90).await;
        assert!(passes.contains(&passed), "{level:?} {quantity:?}: {passed}");
        let (whose, which, _) = reached(refusal);
        assert_eq!((whose, which), (level, quantity));
    }
}

#[sqlx::test]
async fn limits_of_an_app_hold_over_four_replicas(pool: PgPool) {
    each_limit_holds(&pool, Level::App).await;
}

#[sqlx::test]
async fn limits_of_an_account_hold_over_four_replicas(pool: PgPool) {
    each_limit_holds(&pool, Level::Account).await;
}

#[sqlx::test]
async fn requests_that_one_level_refuses_are_taken_from_no_other(pool: PgPool) {
    let (mut world, others) = four(&pool, limits(8, 0, 0)).await;
    limit(&world, Level::App, limits(16, 0, 0)).await;
    limit(&world, Level::Account, limits(24, 0, 0)).await;
    limits_are_read().await;
    let begun = Instant::now();
    let mut passed = 0;
    for ((caller, level), most) in callers(world.caller).into_iter().zip([8, 16, 24]) {
        world.caller = caller;
        let (more, refusal) = at_once(&world, &others, 4, 80, 8).await;
        passed += more;
        // One at each replica may be on its way back, and some fill in while it runs.
        let filled = begun.elapsed().as_millis() as usize * most / 60_000 + 1;
        assert!(
            (most - 4..=most + filled).contains(&passed),
            "{level:?}: {passed}"
        );
        let (whose, which, _) = reached(refusal);
        assert_eq!((whose, which), (level, Quantity::Requests));
    }
}

#[sqlx::test]
async fn places_that_one_level_refuses_are_free_for_the_others(pool: PgPool) {
    let mut world = World::start(pool).await;
    limit(&world, Level::Key, limits(0, 0, 2)).await;
    limit(&world, Level::App, limits(0, 0, 4)).await;
    limit(&world, Level::Account, limits(0, 0, 6)).await;
    limits_are_read().await;
    let slow = chat(true, json!({"tokens": 300, "delay_ms": 200}));
    let held = Mutex::new(Vec::new());
    for (caller, level) in callers(world.caller) {
        world.caller = caller;
        for _ in 0..2 {
            wait_for("a place", async || {
                let begun = world.begin(&slow).await;
                begun.map(|reply| held.lock().push(reply)).is_ok()
            })
            .await;
        }
        for _ in 0..8 {
            let (whose, which, _) = reached(world.begin(&slow).await.err());
            assert_eq!((whose, which), (level, Quantity::Calls));
        }
    }
    assert_eq!(held.lock().len(), 6);
}

#[sqlx::test]
async fn a_limit_that_is_lowered_holds_at_once_for_what_was_taken_of_the_wider_one(pool: PgPool) {
    let (world, others) = four(&pool, limits(0, 0, 100_000)).await;
    let (passed, _) = at_once(&world, &others, 4, 80, 8).await;
    assert_eq!(passed, 80);
    let (account, key) = (world.caller.account_id, Subject::key(world.caller.key_id));
    set_limits(&pool, account, key, rule(limits(0, 0, 20)))
        .await
        .unwrap();
    limits_are_read().await;
    let (passed, refusal) = at_once(&world, &others, 4, 80, 8).await;
    assert!(passed <= 20, "{passed}");
    assert_eq!(reached(refusal).1, Quantity::Calls);
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let (passed, _) = at_once(&world, &others, 4, 80, 8).await;
    assert!((17..=20).contains(&passed), "{passed}");
}

#[sqlx::test]
async fn a_replica_that_died_gives_its_places_up(pool: PgPool) {
    let (mut world, others) = four(&pool, limits(0, 0, 4)).await;
    let slow = chat(true, json!({"tokens": 50, "delay_ms": 200}));
    let mut held = Vec::new();
    for _ in 0..4 {
        held.push(world.begin(&slow).await.unwrap());
    }
    let (passed, refusal) = at_once(&world, &others[..1], 2, 2, 8).await;
    assert_eq!((passed, reached(refusal).1), (0, Quantity::Calls));
    world.kill();
    let quick = chat(true, json!({"tokens": 1}));
    wait_for("the dead one's places", async || {
        others[0]
            .app
            .chat
            .create(world.request(&quick))
            .await
            .is_ok()
    })
    .await;
}

#[sqlx::test]
async fn an_operators_word_holds_before_the_platforms(pool: PgPool) {
    let world = World::with(pool.clone(), |sections| {
        sections.limits.requests_per_minute = 3;
    })
    .await;
    let body = chat(true, json!({"tokens": 1}));
    for _ in 0..3 {
        world.call(&body).await.unwrap();
    }
    let refusal = world.call(&body).await.unwrap_err();
    assert_eq!(reached(Some(refusal)).0, Level::Account);
    let account = world.caller.account_id;
    let rule = Rule {
        limits: limits(1000, 0, 0),
        priority: Some(Priority::High),
    };
    let platform = world.app.chat.limiter.platform();
    let set = set_account_limits(&pool, id(), account, rule, platform)
        .await
        .unwrap();
    assert_eq!(set.rule.limits.requests_per_minute, NonZeroU64::new(1000));
    wait_for("the new limit", async || world.call(&body).await.is_ok()).await;
    let listed = list_limits(&pool, account, platform).await.unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].rule.priority, Some(Priority::High));
    assert_eq!(
        listed[0].rule.limits.concurrent_calls,
        platform.concurrent_calls
    );
}

#[sqlx::test]
async fn limits_of_another_account_do_not_hold(pool: PgPool) {
    let world = World::start(pool.clone()).await;
    let key = Subject::key(world.caller.key_id);
    set_limits(&pool, id(), key, rule(limits(1, 0, 0)))
        .await
        .unwrap();
    limits_are_read().await;
    let body = chat(true, json!({"tokens": 1}));
    for _ in 0..3 {
        world.call(&body).await.unwrap();
    }
}

#[sqlx::test]
async fn a_limit_that_is_lifted_is_gone(pool: PgPool) {
    let world = World::start(pool.clone()).await;
    let account = world.caller.account_id;
    let app = Subject::app(world.caller.app_id);
    set_limits(&pool, account, app, rule(limits(1, 0, 0)))
        .await
        .unwrap();
    let platform = world.app.chat.limiter.platform();
    let listed = list_limits(&pool, account, platform).await.unwrap();
    assert_eq!(listed[1].subject, app);
    set_limits(&pool, account, app, Rule::default())
        .await
        .unwrap();
    let listed = list_limits(&pool, account, platform).await.unwrap();
    assert_eq!(listed.len(), 1);
    limits_are_read().await;
    let body = chat(true, json!({"tokens": 1}));
    for _ in 0..3 {
        world.call(&body).await.unwrap();
    }
}

#[sqlx::test]
async fn limits_are_in_memory_for_who_calls_and_go_when_nobody_does(pool: PgPool) {
    let metrics = Metrics::collected();
    let mut world = World::with(pool, |sections| {
        // So small a limit is taken call by call: nothing of it is kept for the next one.
        sections.limits.requests_per_minute = 20;
        sections.limits.tokens_per_minute = 0;
        sections.limits.concurrent_calls = 0;
    })
    .await;
    let held = || metrics.sum("inference_routing_limits_held", &[]);
    let long = chat(true, json!({"tokens": 9, "hang_after": 1}));
    let mut calls = Vec::new();
    for _ in 0..3 {
        world.caller.account_id = id();
        world.billing.give(world.caller.account_id, 1_000_000_000);
        calls.push(world.begin(&long).await.unwrap());
    }
    wait_for("three accounts' limits", async || held() == 3.0).await;
    drop(calls);
    wait_for("nobody's limits", async || held() == 0.0).await;
}

#[sqlx::test]
async fn a_refused_call_takes_nothing_of_a_limit(pool: PgPool) {
    let (world, others) = four(&pool, limits(4, 0, 0)).await;
    world.billing.set(world.caller.account_id, 0);
    let body = chat(true, json!({"tokens": 1}));
    for _ in 0..8 {
        let refused = world.call(&body).await.unwrap_err();
        assert!(matches!(refused, Error::InsufficientBalance), "{refused:?}");
    }
    drop(others);
}
