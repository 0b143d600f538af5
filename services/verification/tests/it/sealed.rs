use sqlx::PgPool;

use crate::world::{NAME, World, resident_id};

/// Every table of the service, each row as text; bytes are hexadecimal there.
async fn rows(pool: &PgPool) -> Vec<String> {
    let tables: Vec<String> =
        sqlx::query_scalar("select tablename::text from pg_tables where schemaname = 'public'")
            .fetch_all(pool)
            .await
            .unwrap();
    let mut rows = Vec::new();
    for table in tables {
        let sql = format!("select t::text from {table} t");
        let sql = sqlx::AssertSqlSafe(sql);
        let found: Vec<String> = sqlx::query_scalar(sql).fetch_all(pool).await.unwrap();
        rows.extend(found);
    }
    rows
}

#[sqlx::test]
async fn name_and_number_are_in_no_row(pool: PgPool) {
    let world = World::new(pool).await;
    let number = resident_id("19900307");
    let account = world.verified(&number).await;
    let rows = rows(&world.pool).await;
    assert!(rows.iter().any(|row| row.contains(&account.to_string())));
    for planted in [NAME, &number, "19900307", "1990-03-07"] {
        let hexed = hex::encode(planted);
        for row in &rows {
            assert!(
                !row.contains(planted) && !row.contains(&hexed),
                "{planted}: {row}"
            );
        }
    }
}

#[sqlx::test]
async fn what_is_sealed_for_one_check_opens_nowhere_else(pool: PgPool) {
    let world = World::new(pool).await;
    let first = world.verified(&resident_id("20081124")).await;
    let second = world.verified(&resident_id("20181124")).await;
    sqlx::query(
        "update verifications set resident_id_sealed =
             (select resident_id_sealed from verifications where account_id = $1)
         where account_id = $2",
    )
    .bind(first)
    .bind(second)
    .execute(&world.pool)
    .await
    .unwrap();
    world.clock.advance(chrono::Duration::days(1));
    let opened = world.app().band_again().await;
    assert!(opened.is_err(), "a moved number was believed");
}
