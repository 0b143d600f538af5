use std::time::Duration;

use sqlx::PgPool;
use wanwu_events::publish;
use wanwu_ids::Ids;
use wanwu_proto::billing::v1::OrderPaid;
use wanwu_testkit::wait_for;

use crate::bench::{Bench, Credit, PATIENCE, QUEUE};

const OUTBOX: &str = "select count(*) from outbox";
const INBOX: &str = "select count(*) from inbox";

/// Rows of the outbox that were published so many days ago.
async fn published(bench: &Bench, count: i32, days: i32) {
    sqlx::query(
        "insert into outbox (event_id, type, payload, published_at)
         select gen_random_uuid(), $3, '', now() - make_interval(days => $2)
         from generate_series(1, $1)",
    )
    .bind(count)
    .bind(days)
    .bind("wanwu.inference.v1.UsageRecorded")
    .execute(&bench.pool)
    .await
    .unwrap();
}

/// Rows of the inbox that were applied so many days ago, by the service's clock.
async fn applied(bench: &Bench, count: i32, days: i64) {
    let now = wanwu_clock::Clock::now(&bench.clock);
    sqlx::query(
        "insert into inbox (queue, event_id, applied_at)
         select $3, gen_random_uuid(), $2 from generate_series(1, $1)",
    )
    .bind(count)
    .bind(now - chrono::Duration::days(days))
    .bind(QUEUE)
    .execute(&bench.pool)
    .await
    .unwrap();
}

#[sqlx::test(migrations = false)]
async fn published_events_are_forgotten_after_their_time_and_waiting_ones_never(pool: PgPool) {
    let mut bench = Bench::new(pool).await;
    published(&bench, 2500, 31).await;
    published(&bench, 3, 29).await;
    // Nobody consumes it: published by being written, and forgotten like the others.
    let mut tx = bench.pool.begin().await.unwrap();
    publish(&mut tx, &Ids::system(), &OrderPaid::default())
        .await
        .unwrap();
    tx.commit().await.unwrap();
    let age = "update outbox set published_at = now() - interval '31 days'
               where type = 'wanwu.billing.v1.OrderPaid'";
    sqlx::query(age).execute(&bench.pool).await.unwrap();
    // A broker that is away: this one was not told yet, however old it is.
    bench.tell(1, 1).await;
    let age = "update outbox set created_at = now() - interval '90 days'
               where published_at is null";
    sqlx::query(age).execute(&bench.pool).await.unwrap();
    let mut away = bench.broker.clone();
    away.url = Some("amqp://guest:guest@127.0.0.1:1/%2f".into());
    bench.relay_by(away);
    wait_for("the old to go", PATIENCE, || async {
        bench.count(OUTBOX).await <= 4
    })
    .await;
    assert_eq!(bench.count(OUTBOX).await, 4);
    assert_eq!(bench.pending().await, 1);
    bench.end().await;
}

#[sqlx::test(migrations = false)]
async fn applied_events_are_forgotten_after_their_time_and_dead_letters_never(pool: PgPool) {
    let mut bench = Bench::new(pool).await;
    applied(&bench, 2500, 31).await;
    applied(&bench, 3, 29).await;
    sqlx::query(
        "insert into dead_letters (queue, event_id, type, payload, attempts, error, dead_at)
         values ($1, gen_random_uuid(), 't', '', 5, 'e', now() - interval '90 days')",
    )
    .bind(QUEUE)
    .execute(&bench.pool)
    .await
    .unwrap();
    let credit = Credit::default();
    bench.relay();
    bench.consume(&credit);
    wait_for("the old to go", PATIENCE, || async {
        bench.count(INBOX).await <= 3
    })
    .await;
    assert_eq!(bench.count(INBOX).await, 3);
    assert_eq!(bench.count("select count(*) from dead_letters").await, 1);
    // What is younger is still known, and the consumer works on.
    bench.tell(1, 1).await;
    bench.wait_for_effects(1).await;
    bench.end().await;
}

#[sqlx::test(migrations = false)]
async fn how_long_they_stay_is_configured(pool: PgPool) {
    let mut bench = Bench::new(pool).await;
    bench.broker.keep = Duration::from_secs(2 * 24 * 3600);
    published(&bench, 1, 3).await;
    published(&bench, 1, 1).await;
    applied(&bench, 1, 3).await;
    applied(&bench, 1, 1).await;
    bench.relay();
    bench.consume(&Credit::default());
    wait_for("the old to go", PATIENCE, || async {
        (bench.count(OUTBOX).await, bench.count(INBOX).await) == (1, 1)
    })
    .await;
    bench.end().await;
}
