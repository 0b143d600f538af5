//! After a kill.

use std::time::Duration;

use futures::StreamExt;
use inference_routing::{Error, config::Sections};
use serde_json::json;
use sqlx::PgPool;

use crate::{
    metrics::Metrics,
    world::{World, billing::events, chat, rows, wait_for},
};

/// Lets epochs lapse in half a second.
fn hasty(config: &mut Sections) {
    config.epoch.renew_every = Duration::from_millis(50);
    config.epoch.refuse_after = Duration::from_millis(200);
    config.epoch.ttl = Duration::from_millis(500);
    config.epoch.recover_every = Duration::from_millis(50);
}

#[sqlx::test]
async fn a_killed_routers_calls_are_billed_at_their_last_progress_and_its_leases_go_back(
    pool: PgPool,
) {
    let metrics = Metrics::collected();
    let mut world = World::with(pool.clone(), hasty).await;
    let mut long = world
        .begin(&chat(true, json!({"tokens": 90, "hang_after": 30})))
        .await
        .unwrap();
    let fresh = world
        .begin(&chat(true, json!({"tokens": 9, "hang_after": 1})))
        .await
        .unwrap();
    let (long_id, fresh_id) = (long.call_id.to_string(), fresh.call_id.to_string());
    for _ in 0..30 {
        long.next().await.unwrap().unwrap();
    }
    wait_for("progress", async || {
        rows::find(&pool, &long_id).await.unwrap().progress_output == Some(30)
    })
    .await;
    let ended = world
        .call(&chat(true, json!({"tokens": 3})))
        .await
        .unwrap()
        .call_id;
    let dead = world.app.chat.epoch.id().to_string();
    world.kill();

    let second = world.second(hasty).await;
    let recovered = rows::ended(&pool, &long_id).await;
    assert_eq!((recovered.outcome, recovered.output_tokens), (5, 30));
    assert_eq!(recovered.usage_source.as_deref(), Some("progress"));
    let nothing = rows::ended(&pool, &fresh_id).await;
    assert_eq!((nothing.outcome, nothing.amount_nanos), (5, 0));
    assert_eq!(rows::ended(&pool, &ended).await.outcome, 1);

    wait_for("the leases to be freed", async || {
        world.billing.leases().iter().all(|lent| lent.freed)
    })
    .await;
    assert!(world.billing.is_fenced(&dead));
    let paid: i64 = events(&pool)
        .await
        .iter()
        .map(|event| event.amount_nanos)
        .sum();
    assert_eq!(
        world.billing.free(world.caller.account_id),
        1_000_000_000 - paid
    );
    assert!(second.app.is_ready());
    // Again and again changes nothing.
    second.app.recovery().step().await.unwrap();
    rows::ended(&pool, &long_id).await;
    assert_eq!(metrics.sum("inference_routing_epochs_fenced", &[]), 1.0);
    assert_eq!(metrics.sum("inference_routing_calls_recovered", &[]), 2.0);
    // A window of each call at most: 64 tokens.
    let given_away = "inference_routing_recovery_given_away_tokens_at_most";
    assert_eq!(metrics.sum(given_away, &[]), 2.0 * 64.0);
}

#[sqlx::test]
async fn recovery_goes_on_where_it_was_killed(pool: PgPool) {
    let mut world = World::with(pool.clone(), hasty).await;
    let reply = world
        .begin(&chat(true, json!({"tokens": 9, "hang_after": 1})))
        .await
        .unwrap();
    let call = reply.call_id.to_string();
    world.kill();
    world.billing.go_down(true);
    let second = world.second(hasty).await;
    // The call is closed, the lease cannot go back yet.
    rows::ended(&pool, &call).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    drop(second);
    world.billing.go_down(false);
    let _third = world.second(hasty).await;
    wait_for("the leases to be freed", async || {
        world.billing.leases().iter().all(|lent| lent.freed)
    })
    .await;
    rows::ended(&pool, &call).await;
}

#[sqlx::test]
async fn a_fenced_epoch_writes_no_row_and_takes_no_call(pool: PgPool) {
    let world = World::with(pool.clone(), |config| {
        hasty(config);
        config.epoch.recover_every = Duration::from_secs(3600);
        config.journal.dispatch_timeout = Duration::from_millis(300);
    })
    .await;
    let mut reply = world
        .begin(&chat(true, json!({"tokens": 50, "delay_ms": 20})))
        .await
        .unwrap();
    let call = reply.call_id.to_string();
    reply.next().await.unwrap().unwrap();
    sqlx::query("update router_epochs set fenced_at = now()")
        .execute(&pool)
        .await
        .unwrap();
    let refused = world.call(&chat(true, json!({"tokens": 1}))).await;
    assert!(matches!(refused, Err(Error::JournalUnavailable)));
    let got = crate::world::read(reply).await;
    assert!(got.error.is_some());
    assert_eq!(rows::find(&pool, &call).await.unwrap().outcome, 0);
    assert_eq!(
        (rows::count(&pool).await, events(&pool).await.len()),
        (1, 0)
    );
}

#[sqlx::test]
async fn live_epochs_do_not_judge_each_other(pool: PgPool) {
    let world = World::with(pool.clone(), hasty).await;
    let _second = world.second(hasty).await;
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    let fenced: i64 =
        sqlx::query_scalar("select count(*) from router_epochs where fenced_at is not null")
            .fetch_one(&pool)
            .await
            .unwrap();
    assert_eq!(fenced, 0);
    assert!(world.call(&chat(true, json!({"tokens": 1}))).await.is_ok());
}

#[sqlx::test]
async fn after_an_outage_of_the_database_every_epoch_gets_its_time_to_come_back(pool: PgPool) {
    let world = World::with(pool.clone(), hasty).await;
    let second = world.second(hasty).await;
    tokio::time::sleep(Duration::from_millis(600)).await;
    // As after an outage: everything has lapsed, everybody is alive.
    let mut tx = pool.begin().await.unwrap();
    sqlx::query("lock table router_epochs in exclusive mode")
        .execute(&mut *tx)
        .await
        .unwrap();
    tokio::time::sleep(Duration::from_millis(1_000)).await;
    assert!(!world.app.is_ready() && !second.app.is_ready());
    tx.rollback().await.unwrap();
    wait_for("both to be back", async || {
        world.app.is_ready() && second.app.is_ready()
    })
    .await;
    assert!(world.call(&chat(true, json!({"tokens": 1}))).await.is_ok());
}
