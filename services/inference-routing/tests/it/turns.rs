//! Whose turn it is when calls wait, at a router that runs one call at a time.

use std::time::Duration;

use futures::future::join_all;
use inference_routing::{
    commands::{
        chat::Caller,
        limits::{set_account_limits, set_limits},
    },
    domain::limits::{Priority, Rule, Subject},
};
use parking_lot::Mutex;
use serde_json::json;
use sqlx::PgPool;

use crate::world::{World, chat, id, read};

/// A router that runs one call at a time; the others wait.
pub async fn one_at_a_time(pool: &PgPool) -> World {
    World::with(pool.clone(), |sections| {
        sections.chat.max_running = 1;
        sections.chat.queue_timeout = Duration::from_secs(60);
    })
    .await
}

fn of(priority: Priority) -> Rule {
    Rule {
        priority: Some(priority),
        ..Rule::default()
    }
}

/// All send so many calls at once: whose calls ended, in turn, by their places in `senders`.
pub async fn turns(world: &World, senders: &[(Caller, usize)]) -> Vec<usize> {
    // Routers read priorities twice a second.
    tokio::time::sleep(Duration::from_millis(700)).await;
    let ended = Mutex::new(Vec::new());
    let body = chat(true, json!({"tokens": 2, "delay_ms": 3}));
    let calls = senders
        .iter()
        .enumerate()
        .flat_map(|(at, (caller, count))| {
            let (ended, body) = (&ended, &body);
            (0..*count).map(move |_| async move {
                let mut request = world.request(body);
                request.caller = *caller;
                let got = read(world.app.chat.create(request).await.unwrap()).await;
                assert!(got.error.is_none());
                ended.lock().push(at);
            })
        });
    join_all(calls).await;
    ended.into_inner()
}

/// How many of the first turns were one sender's.
pub fn among_the_first(turns: &[usize], count: usize, sender: usize) -> usize {
    let first = turns.iter().take(count);
    first.filter(|at| **at == sender).count()
}

#[sqlx::test]
async fn an_account_of_high_priority_is_served_sixteen_times_as_much(pool: PgPool) {
    let world = one_at_a_time(&pool).await;
    let low = world.caller;
    let high = Caller {
        account_id: id(),
        app_id: id(),
        key_id: id(),
    };
    world.billing.give(high.account_id, 1_000_000_000_000);
    let platform = world.app.chat.limiter.platform();
    for (caller, priority) in [(low, Priority::Low), (high, Priority::High)] {
        let rule = of(priority);
        set_account_limits(&pool, id(), caller.account_id, rule, platform)
            .await
            .unwrap();
    }
    let turns = turns(&world, &[(low, 30), (high, 30)]).await;
    let of_low = among_the_first(&turns, 24, 0);
    assert!((1..=4).contains(&of_low), "{turns:?}");
}

#[sqlx::test]
async fn apps_of_an_account_are_served_alike_however_much_each_sends(pool: PgPool) {
    let world = one_at_a_time(&pool).await;
    let busy = world.caller;
    let quiet = Caller {
        app_id: id(),
        key_id: id(),
        ..busy
    };
    let turns = turns(&world, &[(busy, 40), (quiet, 10)]).await;
    let of_quiet = among_the_first(&turns, 22, 1);
    assert!(of_quiet >= 9, "{turns:?}");
}

#[sqlx::test]
async fn the_urgent_key_of_an_app_comes_first(pool: PgPool) {
    let world = one_at_a_time(&pool).await;
    let normal = world.caller;
    let urgent = Caller {
        key_id: id(),
        ..normal
    };
    let key = Subject::key(urgent.key_id);
    set_limits(&pool, urgent.account_id, key, of(Priority::High))
        .await
        .unwrap();
    let turns = turns(&world, &[(normal, 30), (urgent, 10)]).await;
    // Some may run before the urgent ones come.
    let of_urgent = among_the_first(&turns, 12, 1);
    assert!(of_urgent >= 9, "{turns:?}");
}
