use std::{fs, path::Path, time::Duration};

use sqlx::{PgPool, migrate::Migrator};
use tokio::time::{Instant, sleep};
use wanwu_postgres::{MigrateError, migrate};

use crate::config;

async fn migrator(files: &[(&str, &str)]) -> Migrator {
    let folder = tempfile::tempdir().unwrap();
    for (name, sql) in files {
        fs::write(folder.path().join(name), sql).unwrap();
    }
    Migrator::new(Path::new(folder.path())).await.unwrap()
}

const CREATE: (&str, &str) = (
    "1_create.sql",
    "create table t (n int); select pg_sleep(0.3);",
);
const ALTER: (&str, &str) = ("2_alter.sql", "alter table t add column m int;");
const INDEX: (&str, &str) = (
    "3_index.sql",
    "-- no-transaction\ncreate index concurrently t_n_idx on t (n);",
);

#[sqlx::test(migrations = false)]
async fn replicas_that_start_together_migrate_once(pool: PgPool) {
    let config = config(&pool);
    let migrator = migrator(&[CREATE, ALTER, INDEX]).await;
    let (a, b, c) = tokio::join!(
        migrate(&config, &migrator),
        migrate(&config, &migrator),
        migrate(&config, &migrator),
    );
    assert!(a.is_ok() && b.is_ok() && c.is_ok(), "{a:?} {b:?} {c:?}");
    let (applied,): (i64,) = sqlx::query_as("select count(*) from _sqlx_migrations")
        .fetch_one(&pool)
        .await
        .unwrap();
    assert_eq!(applied, 3);
}

#[sqlx::test(migrations = false)]
async fn a_busy_table_is_waited_for_without_holding_others_up(pool: PgPool) {
    let config = config(&pool);
    migrate(&config, &migrator(&[CREATE]).await).await.unwrap();
    let mut reader = pool.begin().await.unwrap();
    sqlx::query("select * from t")
        .execute(&mut *reader)
        .await
        .unwrap();
    let both = migrator(&[CREATE, ALTER]).await;
    let migrating = migrate(&config, &both);
    let others = async {
        sleep(Duration::from_millis(500)).await;
        let start = Instant::now();
        sqlx::query("select * from t").execute(&pool).await.unwrap();
        assert!(
            start.elapsed() < Duration::from_millis(400),
            "{:?}",
            start.elapsed()
        );
        reader.rollback().await.unwrap();
    };
    let (migrated, ()) = tokio::join!(migrating, others);
    migrated.unwrap();
}

#[sqlx::test(migrations = false)]
async fn a_migration_gives_up_in_time(pool: PgPool) {
    let mut config = config(&pool);
    migrate(&config, &migrator(&[CREATE]).await).await.unwrap();
    config.migrate_timeout = Duration::from_millis(700);
    let mut reader = pool.begin().await.unwrap();
    sqlx::query("select * from t")
        .execute(&mut *reader)
        .await
        .unwrap();
    let result = migrate(&config, &migrator(&[CREATE, ALTER]).await).await;
    assert!(matches!(result, Err(MigrateError::Busy)), "{result:?}");
}

#[sqlx::test(migrations = false)]
async fn a_wrong_migration_is_an_error_and_an_older_binary_is_not(pool: PgPool) {
    let config = config(&pool);
    let wrong = migrator(&[("1_wrong.sql", "create tabel t ();")]).await;
    let result = migrate(&config, &wrong).await;
    assert!(
        matches!(result, Err(MigrateError::Migration(_))),
        "{result:?}"
    );
    migrate(&config, &migrator(&[CREATE, ALTER]).await)
        .await
        .unwrap();
    migrate(&config, &migrator(&[CREATE]).await).await.unwrap();
}

#[sqlx::test(migrations = false)]
async fn a_migration_can_be_spawned(pool: PgPool) {
    let (config, migrator) = (config(&pool), migrator(&[CREATE]).await);
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(async move { migrate(&config, &migrator).await });
    tasks.join_next().await.unwrap().unwrap().unwrap();
}
