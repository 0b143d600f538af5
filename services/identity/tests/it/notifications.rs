use std::{collections::HashMap, sync::Arc};

use chrono::Duration;
use serde_json::json;
use sqlx::PgPool;
use wanwu_events::{Relay, publish};
use wanwu_ids::AccountId;
use wanwu_proto::identity::v1::NotificationRequested;
use wanwu_testkit::{TestBroker, wait_for};

use crate::{
    sms::{Message, Mood},
    world::{PHONE, World},
};

const PATIENCE: std::time::Duration = std::time::Duration::from_secs(30);

/// Writes a notification as the consumer does.
async fn note(world: &World, account_id: AccountId) {
    let params = HashMap::from([("amount".to_owned(), "10.00".to_owned())]);
    let mut tx = world.pool.begin().await.unwrap();
    let noted = world
        .app()
        .note_notification(&mut tx, account_id, "order_paid", &params);
    noted.await.unwrap();
    tx.commit().await.unwrap();
}

fn notices(world: &World) -> Vec<Message> {
    let mut messages = world.sms.messages();
    messages.retain(|message| message.template == "SMS_order_paid");
    messages
}

/// Tries, and when the next try is.
async fn row(world: &World) -> (i32, bool, bool) {
    sqlx::query_as("select attempts, sent_at is not null, next_at is not null from notifications")
        .fetch_one(&world.pool)
        .await
        .unwrap()
}

#[sqlx::test]
async fn an_event_that_comes_twice_tells_the_person_once(pool: PgPool) {
    let world = World::new(pool).await;
    world.run();
    let (account, _) = world.registered(PHONE).await;
    let broker = TestBroker::new();
    let relay = Relay::new(world.pool.clone(), broker.config(), "billing");
    tokio::spawn(relay.run(world.stop.clone()));
    tokio::spawn(
        world
            .app()
            .consumers(broker.config())
            .run(world.stop.clone()),
    );
    let event = |account_id: AccountId| NotificationRequested {
        account_id: account_id.to_string(),
        template: "order_paid".to_owned(),
        params: HashMap::from([("amount".to_owned(), "10.00".to_owned())]),
    };
    let mut tx = world.pool.begin().await.unwrap();
    publish(&mut tx, &world.ids, &event(account)).await.unwrap();
    // Nobody has this account: it is given up where an operator sees it.
    publish(&mut tx, &world.ids, &event(world.ids.id()))
        .await
        .unwrap();
    tx.commit().await.unwrap();
    wait_for("the message", PATIENCE, || async {
        !notices(&world).is_empty()
    })
    .await;
    // The relay lost its memory and hands everything in again.
    sqlx::query("update outbox set published_at = null")
        .execute(&world.pool)
        .await
        .unwrap();
    wait_for("the second delivery", PATIENCE, || async {
        let open = "select count(*) from outbox where published_at is null";
        let open: i64 = sqlx::query_scalar(open)
            .fetch_one(&world.pool)
            .await
            .unwrap();
        let dead = "select count(*) from dead_letters";
        let dead: i64 = sqlx::query_scalar(dead)
            .fetch_one(&world.pool)
            .await
            .unwrap();
        (open, dead) == (0, 1)
    })
    .await;
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    let told = notices(&world);
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].phone, PHONE);
    assert_eq!(told[0].params, json!({"amount": "10.00"}));
}

#[sqlx::test]
async fn a_task_killed_before_the_provider_took_it_loses_nothing(pool: PgPool) {
    let world = World::new(pool).await;
    let (account, _) = world.registered(PHONE).await;
    note(&world, account).await;
    // Taken by a process that died before it sent anything.
    let now = wanwu_clock::Clock::now(&world.clock);
    let lease = Duration::seconds(60);
    let taken = identity::store::notifications::take_due(&world.pool, now, lease, 8);
    assert_eq!(taken.await.unwrap().len(), 1);
    // Nobody else takes it while it may be under way.
    assert_eq!(world.app().send_due_notifications().await.unwrap(), 0);
    world.pass(Duration::seconds(61));
    assert_eq!(world.app().send_due_notifications().await.unwrap(), 1);
    assert_eq!(notices(&world).len(), 1);
    assert_eq!(row(&world).await, (2, true, false));
}

#[sqlx::test]
async fn a_task_killed_after_the_provider_took_it_sends_again_under_the_same_number(pool: PgPool) {
    let world = World::new(pool).await;
    let (account, _) = world.registered(PHONE).await;
    note(&world, account).await;
    world.sms.becomes(Mood::FallsSilent);
    let app = Arc::clone(world.app());
    let task = tokio::spawn(async move { app.send_due_notifications().await });
    wait_for("the provider", PATIENCE, || async {
        notices(&world).len() == 1
    })
    .await;
    task.abort();
    let _ = task.await;
    assert_eq!(row(&world).await, (1, false, true));

    world.sms.becomes(Mood::Takes);
    world.pass(Duration::seconds(61));
    assert_eq!(world.app().send_due_notifications().await.unwrap(), 1);
    // The one case in which a person may be told twice; the provider can see that it is one.
    let told = notices(&world);
    assert_eq!(told.len(), 2);
    assert_eq!(told[0], told[1]);
    assert!(!told[0].out_id.is_empty());
    world.pass(Duration::days(1));
    assert_eq!(world.app().send_due_notifications().await.unwrap(), 0);
}

#[sqlx::test]
async fn many_processes_at_once_send_each_notification_once(pool: PgPool) {
    let world = World::new(pool).await;
    let (account, _) = world.registered(PHONE).await;
    for _ in 0..20 {
        note(&world, account).await;
    }
    let sends = (0..6).map(|_| world.app().send_due_notifications());
    let sent = futures::future::join_all(sends).await;
    let sent: usize = sent.into_iter().map(Result::unwrap).sum();
    assert_eq!((sent, notices(&world).len()), (20, 20));
}

#[sqlx::test]
async fn a_provider_that_refuses_is_asked_again_ever_later_and_then_no_more(pool: PgPool) {
    let world = World::new(pool).await;
    let (account, _) = world.registered(PHONE).await;
    note(&world, account).await;
    world.sms.becomes(Mood::Refuses);
    for pause in [5, 20, 80, 320] {
        assert_eq!(world.app().send_due_notifications().await.unwrap(), 1);
        world.pass(Duration::seconds(pause - 1));
        assert_eq!(world.app().send_due_notifications().await.unwrap(), 0);
        world.pass(Duration::seconds(1));
    }
    assert_eq!(world.app().send_due_notifications().await.unwrap(), 1);
    assert_eq!(row(&world).await, (5, false, false));
    let error: String = sqlx::query_scalar("select error from notifications")
        .fetch_one(&world.pool)
        .await
        .unwrap();
    assert!(!error.contains(PHONE), "{error}");
    assert!(notices(&world).is_empty());
}
