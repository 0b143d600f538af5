use std::time::Duration;

use sqlx::PgPool;
use tokio::time::Instant;
use wanwu_events::BrokerConfig;
use wanwu_postgres::DatabaseConfig;
use wanwu_testkit::wait_for;

use crate::bench::{Bench, Credit, Kind, PATIENCE};

#[sqlx::test(migrations = false)]
async fn two_relays_and_two_consumers_apply_each_event_once(pool: PgPool) {
    let mut bench = Bench::new(pool).await;
    let credit = Credit::default();
    bench.relay();
    bench.relay();
    bench.consume(&credit);
    bench.consume(&credit);
    bench.tell(0, 150).await;
    // A relay that sent and died before it marked: everything is sent again.
    let again = "update outbox set published_at = null, leased_until = null";
    sqlx::query(again).execute(&bench.pool).await.unwrap();
    bench.tell(150, 150).await;
    bench.wait_for_effects(300).await;
    wait_for("the outbox to empty", PATIENCE, || async {
        bench.pending().await == 0
    })
    .await;
    sqlx::query(again).execute(&bench.pool).await.unwrap();
    wait_for("the outbox to empty again", PATIENCE, || async {
        bench.pending().await == 0
    })
    .await;
    bench.wait_for_effects(300).await;
    assert_eq!(bench.count("select count(*) from inbox").await, 300);
    bench.end().await;
}

#[sqlx::test(migrations = false)]
async fn a_database_that_fails_uses_up_no_try(pool: PgPool) {
    let mut bench = Bench::new(pool).await;
    let credit = Credit::default();
    sqlx::query("alter table inbox rename to away")
        .execute(&bench.pool)
        .await
        .unwrap();
    bench.relay();
    bench.consume(&credit);
    bench.tell(0, 5).await;
    tokio::time::sleep(Duration::from_millis(800)).await;
    assert_eq!(credit.asked(), 0);
    sqlx::query("alter table away rename to inbox")
        .execute(&bench.pool)
        .await
        .unwrap();
    bench.wait_for_effects(5).await;
    assert_eq!(bench.count("select count(*) from inbox_retries").await, 0);
    bench.end().await;
}

/// COMMIT of a failed transaction rolls back and answers success.
#[sqlx::test(migrations = false)]
async fn a_handler_that_hides_an_error_loses_nothing(pool: PgPool) {
    let mut bench = Bench::new(pool).await;
    let credit = Credit::failing(1, Kind::Hide);
    bench.relay();
    bench.consume(&credit);
    bench.tell(0, 1).await;
    let kept = "select count(*) from inbox_retries where error like '%hid the error%'";
    wait_for("the try to be kept", PATIENCE, || async {
        bench.count(kept).await == 1
    })
    .await;
    bench.clock.advance(chrono::Duration::seconds(1));
    bench.wait_for_effects(1).await;
    bench.end().await;
}

/// The figure is printed, not asserted: it belongs to the machine.
#[sqlx::test(migrations = false)]
async fn a_backlog_is_settled(pool: PgPool) {
    const EVENTS: u32 = 2000;
    let server = std::env::var("DATABASE_URL").unwrap();
    let (server, _) = server.rsplit_once('/').unwrap();
    let database = pool.connect_options().get_database().unwrap().to_owned();
    let mut config = DatabaseConfig::of(&format!("{server}/{database}"));
    config.max_connections = 12;
    let mut bench = Bench::new(wanwu_postgres::connect(&config, "test").await.unwrap()).await;
    bench.broker = BrokerConfig {
        workers: 8,
        ..bench.broker
    };
    bench.tell(0, EVENTS).await;
    let start = Instant::now();
    bench.relay();
    bench.consume(&Credit::default());
    wait_for("the backlog", PATIENCE, || async {
        bench.effects().await.1 == i64::from(EVENTS)
    })
    .await;
    let rate = f64::from(EVENTS) / start.elapsed().as_secs_f64();
    println!("{rate:.0} events/s relayed and settled by one consumer with 8 workers");
    assert_eq!(bench.effects().await.0, i64::from(EVENTS));
    bench.end().await;
}
