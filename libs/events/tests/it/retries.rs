use chrono::Duration;
use sqlx::PgPool;
use wanwu_testkit::wait_for;

use crate::bench::{Bench, Credit, Kind, PATIENCE};

#[sqlx::test(migrations = false)]
async fn what_fails_twice_is_applied_the_third_time(pool: PgPool) {
    for kind in [Kind::Retry, Kind::Panic] {
        let mut bench = Bench::new_again(&pool).await;
        let credit = Credit::failing(2, kind);
        bench.relay();
        bench.consume(&credit);
        bench.tell(0, 1).await;
        wait_for("the first try", PATIENCE, || async { credit.asked() == 1 }).await;
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
        assert_eq!(credit.asked(), 1, "it is not yet time");
        bench.clock.advance(Duration::seconds(1));
        wait_for("the second try", PATIENCE, || async { credit.asked() == 2 }).await;
        let attempts = "select count(*) from inbox_retries where attempts = 2";
        wait_for("its record", PATIENCE, || async {
            bench.count(attempts).await == 1
        })
        .await;
        bench.clock.advance(Duration::seconds(5));
        bench.wait_for_effects(1).await;
        assert_eq!(bench.count("select count(*) from inbox_retries").await, 0);
        bench.end().await;
    }
}

#[sqlx::test(migrations = false)]
async fn waiting_for_what_must_come_first_uses_up_no_try(pool: PgPool) {
    let mut bench = Bench::new(pool).await;
    let credit = Credit::failing(8, Kind::NotYet);
    bench.relay();
    bench.consume(&credit);
    bench.tell(0, 1).await;
    for asked in 1..=8 {
        wait_for("the next try", PATIENCE, || async {
            credit.asked() >= asked
        })
        .await;
        let kept = "select count(*) from inbox_retries where attempts = 0";
        wait_for("its record", PATIENCE, || async {
            bench.count(kept).await == 1
        })
        .await;
        // The record is written, its lease is gone: move on until it is asked again.
        wait_for("the one after", PATIENCE, || async {
            bench.clock.advance(Duration::seconds(60));
            tokio::time::sleep(std::time::Duration::from_millis(250)).await;
            credit.asked() > asked
        })
        .await;
    }
    bench.wait_for_effects(1).await;
    assert_eq!(credit.asked(), 9);
    bench.end().await;
}

#[sqlx::test(migrations = false)]
async fn waiting_ends_after_a_day(pool: PgPool) {
    let mut bench = Bench::new(pool).await;
    let credit = Credit::failing(i64::MAX, Kind::NotYet);
    bench.relay();
    bench.consume(&credit);
    bench.tell(0, 1).await;
    wait_for("the first try", PATIENCE, || async {
        bench.count("select count(*) from inbox_retries").await == 1
    })
    .await;
    bench.clock.advance(Duration::hours(25));
    wait_for("the end", PATIENCE, || async {
        bench.count("select count(*) from dead_letters").await == 1
    })
    .await;
    bench.end().await;
}

/// The broker delivers again what the database already keeps: that is no try.
#[sqlx::test(migrations = false)]
async fn a_duplicate_of_a_kept_event_uses_up_no_try(pool: PgPool) {
    let mut bench = Bench::new(pool).await;
    let credit = Credit::failing(1, Kind::Retry);
    bench.relay();
    bench.consume(&credit);
    bench.tell(0, 1).await;
    let kept = "select count(*) from inbox_retries where attempts = 1";
    wait_for("the first try", PATIENCE, || async {
        bench.count(kept).await == 1
    })
    .await;
    for _ in 0..3 {
        let again = "update outbox set published_at = null, leased_until = null";
        sqlx::query(again).execute(&bench.pool).await.unwrap();
        wait_for("a duplicate to leave", PATIENCE, || async {
            bench.pending().await == 0
        })
        .await;
    }
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    assert_eq!((credit.asked(), bench.count(kept).await), (1, 1));
    bench.clock.advance(Duration::seconds(1));
    bench.wait_for_effects(1).await;
    bench.end().await;
}
