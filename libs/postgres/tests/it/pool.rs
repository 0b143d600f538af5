use std::time::Duration;

use sqlx::{Acquire, PgPool};
use tokio::{
    task::yield_now,
    time::{Instant, sleep},
};
use wanwu_postgres::{connect, is_transient, violates};

use crate::config;

#[sqlx::test(migrations = false)]
async fn a_session_has_its_limits_and_its_name(pool: PgPool) {
    let pool = connect(&config(&pool), "billing").await.unwrap();
    for (setting, expected) in [
        ("statement_timeout", "5s"),
        ("idle_in_transaction_session_timeout", "5s"),
        ("application_name", "billing"),
    ] {
        let (value,): (String,) = sqlx::query_as("select current_setting($1)")
            .bind(setting)
            .fetch_one(&pool)
            .await
            .unwrap();
        assert_eq!(value, expected, "{setting}");
    }
}

#[sqlx::test(migrations = false)]
async fn a_statement_that_runs_too_long_is_ended(pool: PgPool) {
    let mut config = config(&pool);
    config.statement_timeout = Duration::from_millis(100);
    let pool = connect(&config, "test").await.unwrap();
    let error = sqlx::query("select pg_sleep(5)")
        .execute(&pool)
        .await
        .unwrap_err();
    assert!(is_transient(&error), "{error}");
}

/// A dropped `begin()` leaves a transaction that the pool does not know of.
#[sqlx::test(migrations = false)]
async fn no_borrower_works_inside_a_cancelled_transaction(pool: PgPool) {
    let mut config = config(&pool);
    config.max_connections = 2;
    let pool = connect(&config, "test").await.unwrap();
    for round in 0..300 {
        tokio::select! {
            biased;
            _ = pool.begin() => {}
            // The client goes away at another moment each time.
            () = polls(round % 12) => {}
        }
        let mut connection = pool.acquire().await.unwrap();
        // Two statements: in an open transaction both see its one start.
        let started = "select transaction_timestamp()::text";
        let first: (String,) = sqlx::query_as(started)
            .fetch_one(&mut *connection)
            .await
            .unwrap();
        let second: (String,) = sqlx::query_as(started)
            .fetch_one(&mut *connection)
            .await
            .unwrap();
        assert_ne!(
            first, second,
            "round {round} works inside somebody's transaction"
        );
    }
}

/// Ends after so many polls.
async fn polls(count: u32) {
    for _ in 0..count {
        yield_now().await;
    }
}

#[sqlx::test(migrations = false)]
async fn a_failed_transaction_does_not_come_back(pool: PgPool) {
    let mut config = config(&pool);
    config.max_connections = 1;
    let pool = connect(&config, "test").await.unwrap();
    let mut connection = pool.acquire().await.unwrap();
    sqlx::raw_sql("begin")
        .execute(&mut *connection)
        .await
        .unwrap();
    assert!(
        sqlx::raw_sql("select 1/0")
            .execute(&mut *connection)
            .await
            .is_err()
    );
    drop(connection);
    sqlx::query("select 1").execute(&pool).await.unwrap();
}

#[sqlx::test(migrations = false)]
async fn dead_connections_are_replaced_before_use(pool: PgPool) {
    let mut config = config(&pool);
    config.max_connections = 1;
    let healed = connect(&config, "victim").await.unwrap();
    sqlx::query(
        "select pg_terminate_backend(pid) from pg_stat_activity
                 where application_name = 'victim' and datname = current_database()",
    )
    .execute(&pool)
    .await
    .unwrap();
    sleep(Duration::from_millis(50)).await;
    sqlx::query("select 1").execute(&healed).await.unwrap();
}

#[sqlx::test(migrations = false)]
async fn a_full_pool_says_so_in_time(pool: PgPool) {
    let mut config = config(&pool);
    config.max_connections = 1;
    config.acquire_timeout = Duration::from_millis(200);
    let pool = connect(&config, "test").await.unwrap();
    let _held = pool.acquire().await.unwrap();
    let start = Instant::now();
    let error = pool.acquire().await.unwrap_err();
    assert!(is_transient(&error));
    assert!(start.elapsed() < Duration::from_secs(1));
}

#[sqlx::test(migrations = false)]
async fn constraints_are_told_by_name(pool: PgPool) {
    let mut connection = pool.acquire().await.unwrap();
    let connection = connection.acquire().await.unwrap();
    sqlx::raw_sql("create table t (n int constraint t_pkey primary key)")
        .execute(&mut *connection)
        .await
        .unwrap();
    let insert = || sqlx::query("insert into t values (1)");
    insert().execute(&mut *connection).await.unwrap();
    let error = insert().execute(&mut *connection).await.unwrap_err();
    assert!(violates(&error, "t_pkey"));
    assert!(!violates(&error, "t_n_key"));
    assert!(!is_transient(&error));
}
