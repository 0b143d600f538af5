//! How engines are chosen, in a router that runs.

use std::time::{Duration, Instant};

use inference_routing::{domain::placement::Policy, engine::pool::Named};
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::world::{World, chat, config, engine::FakeEngine, wait_for};

/// A router with three engines.
async fn three(pool: PgPool, policy: Policy) -> (World, [FakeEngine; 2]) {
    let others = [FakeEngine::start().await, FakeEngine::start().await];
    let urls = others.each_ref().map(|engine| engine.url.as_str());
    let world = World::with(pool, |sections| {
        let more = config(&urls).models.remove(0).engines;
        sections.models[0].engines.extend(more);
        sections.models[0].policy = policy;
        sections.engines.slow_start = Duration::from_millis(1);
    })
    .await;
    // Calls that run at the same time are all paid for beforehand.
    world
        .billing
        .give(world.caller.account_id, 1_000_000_000_000);
    (world, others)
}

/// A call that no other begins like, and that runs as long as its client stays.
pub fn endless(n: usize) -> Value {
    let mut body = chat(true, json!({"tokens": 1000, "delay_ms": 2000}));
    body["messages"][0]["content"] = json!(format!("{n} {}", "x".repeat(1000)));
    body
}

#[sqlx::test]
async fn in_turn_each_engine_gets_as_many_calls(pool: PgPool) {
    let (world, others) = three(pool, Policy::RoundRobin).await;
    for _ in 0..30 {
        world.call(&chat(true, json!({"tokens": 1}))).await.unwrap();
    }
    let calls = [&world.engine, &others[0], &others[1]].map(FakeEngine::calls);
    assert_eq!(calls, [10, 10, 10]);
}

#[sqlx::test]
async fn of_two_engines_the_one_that_runs_less_gets_the_call(pool: PgPool) {
    let (world, others) = three(pool, Policy::LeastOfTwo).await;
    let mut running = Vec::new();
    for n in 0..30 {
        running.push(world.begin(&endless(n)).await.unwrap());
    }
    let calls = [&world.engine, &others[0], &others[1]].map(FakeEngine::calls);
    let even = calls.iter().all(|calls| (7..=13).contains(calls));
    assert!(even, "{calls:?}");
    // One engine has nothing to do any more.
    let free = &others[0];
    let mut left = Vec::new();
    running.retain(|reply| {
        let call = reply.call_id.to_string();
        let stays = free.seen(&call).is_none();
        if !stays {
            left.push(call);
        }
        stays
    });
    wait_for("its clients to leave", async || {
        left.iter().all(|call| free.seen(call).unwrap().cancelled)
    })
    .await;
    let before = free.calls();
    for _ in 0..90 {
        world.call(&chat(true, json!({"tokens": 1}))).await.unwrap();
    }
    // It is one of the two that chance names two times of three. In turn it would get thirty.
    let given = free.calls() - before;
    assert!((46..=74).contains(&given), "{given}");
}

/// How many of a hundred calls at a time an engine gets that joined three others then.
async fn of_a_hundred(pool: &PgPool, policy: Policy, joined_at: Instant) -> usize {
    let (world, others) = three(pool.clone(), policy).await;
    let joined = FakeEngine::start().await;
    let named = [Named {
        url: joined.url.clone(),
        draining: false,
    }];
    let model = world.app.chat.catalogue.find("test").unwrap();
    model.pool.name(3, &named, None, joined_at);
    let mut running = Vec::new();
    for n in 0..100 {
        running.push(world.begin(&endless(n)).await.unwrap());
    }
    drop((running, others));
    joined.calls()
}

#[sqlx::test]
async fn an_engine_that_joins_gets_little_of_its_share_at_first(pool: PgPool) {
    for policy in [Policy::PrefixAware, Policy::LeastOfTwo] {
        // It stays as fresh as it is at its first moment, however slow this machine is.
        let fresh = Instant::now() + Duration::from_secs(3600);
        let given = of_a_hundred(&pool, policy, fresh).await;
        assert!((1..=12).contains(&given), "{policy:?}: {given} at first");
        let given = of_a_hundred(&pool, policy, Instant::now()).await;
        assert!((18..=32).contains(&given), "{policy:?}: {given} later");
    }
}
