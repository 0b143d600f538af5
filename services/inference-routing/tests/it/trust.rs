//! An engine that is trusted again, in a router that runs.

use std::time::{Duration, Instant};

use inference_routing::{
    domain::placement::{Policy, SlotState},
    engine::pool::Named,
};
use serde_json::json;
use sqlx::PgPool;
use tokio::net::TcpListener;

use crate::{
    policies::endless,
    world::{World, chat, engine::FakeEngine, wait_for},
};

/// Longer than any test takes.
const SLOW_START: Duration = Duration::from_secs(600);

/// How many of a hundred calls at a time one of four engines gets that was down, and is trusted again.
async fn of_a_hundred(pool: &PgPool, policy: Policy) -> usize {
    let world = World::with(pool.clone(), |sections| {
        let model = &mut sections.models[0];
        model.policy = policy;
        // No engine yet: they join by what follows.
        model.engines[0].url = "file:/nowhere/engines".to_owned();
        sections.engines.slow_start = SLOW_START;
        sections.engines.first_backoff = Duration::from_millis(10);
        sections.engines.probe_every = Duration::from_secs(3600);
    })
    .await;
    // Calls that run at the same time are all paid for beforehand.
    world
        .billing
        .give(world.caller.account_id, 1_000_000_000_000);
    let mut engines = Vec::new();
    for _ in 0..4 {
        engines.push(FakeEngine::start().await);
    }
    let named: Vec<_> = engines
        .iter()
        .map(|engine| Named {
            url: engine.url.clone(),
            draining: false,
        })
        .collect();
    // They joined so long ago that they have their whole share.
    let joined_at = Instant::now().checked_sub(2 * SLOW_START).unwrap();
    let placed = &world.app.chat.catalogue.find("test").unwrap().pool;
    placed.name(1, &named, None, joined_at);

    let ill = engines.remove(0);
    let url = ill.url.clone();
    let stands = |wanted: SlotState| {
        let all = placed.engines();
        let mut states = all.iter().filter(|(_, engine, ..)| engine.url == url);
        states.any(|(_, _, state, _)| *state == wanted)
    };
    let call = async || {
        let got = world.call(&chat(true, json!({"tokens": 1}))).await.unwrap();
        assert!(got.error.is_none(), "{got:?}");
    };
    drop(ill);
    wait_for("it to be left out", async || {
        call().await;
        stands(SlotState::Ejected)
    })
    .await;
    let address = url.trim_start_matches("http://");
    let again = FakeEngine::on(TcpListener::bind(address).await.unwrap());
    wait_for("it to be trusted", async || {
        call().await;
        stands(SlotState::Active)
    })
    .await;
    let before = again.calls();
    let mut running = Vec::new();
    for n in 0..100 {
        running.push(world.begin(&endless(n)).await.unwrap());
    }
    assert!(stands(SlotState::Active), "it could have got them");
    drop(running);
    again.calls() - before
}

#[sqlx::test]
async fn an_engine_that_is_trusted_again_gets_little_of_its_share_at_first(pool: PgPool) {
    for policy in [Policy::PrefixAware, Policy::LeastOfTwo] {
        let given = of_a_hundred(&pool, policy).await;
        assert!(given <= 12, "{policy:?}: {given}");
    }
}
