use std::time::Duration;

use sqlx::PgPool;
use wanwu_events::{MAX_PAYLOAD, Traced, publish, publish_many};
use wanwu_ids::Ids;
use wanwu_proto::{
    billing::v1::OrderPaid, inference::v1::UsageRecorded, operations::v1::DeadLetter,
};
use wanwu_testkit::wait_for;

use crate::bench::{Bench, Credit, PATIENCE, usage};

#[sqlx::test(migrations = false)]
async fn what_is_rolled_back_never_leaves(pool: PgPool) {
    let mut bench = Bench::new(pool).await;
    let credit = Credit::default();
    bench.relay();
    bench.consume(&credit);
    let mut tx = bench.pool.begin().await.unwrap();
    publish(&mut tx, &Ids::system(), &usage(1)).await.unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    tx.rollback().await.unwrap();
    bench.tell(2, 1).await;
    bench.wait_for_effects(1).await;
    assert_eq!(
        bench
            .count("select count(*) from effects where call_id = 'call-2'")
            .await,
        1
    );
    assert_eq!(credit.asked(), 1);
    bench.end().await;
}

#[sqlx::test(migrations = false)]
async fn an_event_that_nobody_consumes_is_published_by_being_written(pool: PgPool) {
    let bench = Bench::new(pool).await;
    let mut tx = bench.pool.begin().await.unwrap();
    let id = publish(&mut tx, &Ids::system(), &OrderPaid::default())
        .await
        .unwrap();
    tx.commit().await.unwrap();
    assert_eq!(bench.pending().await, 0);
    assert_eq!(id.uuid().get_version_num(), 7);
}

#[sqlx::test(migrations = false)]
async fn only_events_of_bounded_size_are_told(pool: PgPool) {
    let bench = Bench::new(pool).await;
    let mut tx = bench.pool.begin().await.unwrap();
    let ids = Ids::system();
    let large = UsageRecorded {
        model: "m".repeat(MAX_PAYLOAD),
        ..UsageRecorded::default()
    };
    assert!(publish(&mut tx, &ids, &large).await.is_err());
    assert!(
        publish(&mut tx, &ids, &DeadLetter::default())
            .await
            .is_err()
    );
    let event = UsageRecorded {
        model: "m".repeat(MAX_PAYLOAD - 10),
        ..UsageRecorded::default()
    };
    publish(&mut tx, &ids, &event).await.unwrap();
}

#[sqlx::test(migrations = false)]
async fn many_events_are_told_with_one_statement(pool: PgPool) {
    let mut bench = Bench::new(pool).await;
    bench.relay();
    bench.consume(&Credit::default());
    let events: Vec<_> = (0..300)
        .map(|call| Traced {
            event: usage(call),
            traceparent: None,
        })
        .collect();
    let mut tx = bench.pool.begin().await.unwrap();
    publish_many(&mut tx, &Ids::system(), events).await.unwrap();
    tx.commit().await.unwrap();
    bench.wait_for_effects(300).await;
    bench.end().await;
}

/// The broker confirms what it could not route, too.
#[sqlx::test(migrations = false)]
async fn a_queue_that_was_deleted_loses_nothing(pool: PgPool) {
    let mut bench = Bench::new(pool).await;
    bench.relay();
    bench.tell(0, 1).await;
    wait_for("the first event to leave", PATIENCE, || async {
        bench.pending().await == 0
    })
    .await;
    delete_queue(&bench).await;
    // The relay still believes that the queue is there.
    bench.tell(1, 20).await;
    wait_for("the rest to leave", PATIENCE, || async {
        bench.pending().await == 0
    })
    .await;
    let again = "select count(*) from outbox where attempts > 1";
    assert!(
        bench.count(again).await > 0,
        "the broker's answer was counted as published"
    );
    bench.consume(&Credit::default());
    bench.wait_for_effects(20).await;
    bench.end().await;
}

async fn delete_queue(bench: &Bench) {
    use secrecy::ExposeSecret;
    let url = bench
        .broker
        .url
        .as_ref()
        .expect("the test broker has a URL");
    let properties = lapin::ConnectionProperties::default();
    let connection = lapin::Connection::connect(url.expose_secret(), properties)
        .await
        .unwrap();
    let channel = connection.create_channel().await.unwrap();
    let name = format!("{}{}", bench.broker.queue_prefix, crate::bench::QUEUE);
    channel
        .queue_delete(name.into(), Default::default())
        .await
        .unwrap();
    connection.close(200, "done".into()).await.unwrap();
}

#[sqlx::test(migrations = false)]
async fn what_a_dead_relay_had_taken_is_sent_by_another(pool: PgPool) {
    let mut bench = Bench::new(pool).await;
    bench.tell(0, 10).await;
    let lease = "update outbox set leased_until = now() + interval '1 second', attempts = 1";
    sqlx::query(lease).execute(&bench.pool).await.unwrap();
    bench.relay();
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(bench.pending().await, 10, "somebody else has them");
    wait_for("the leases to lapse", PATIENCE, || async {
        bench.pending().await == 0
    })
    .await;
    bench.end().await;
}
