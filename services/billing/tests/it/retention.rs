use sqlx::PgPool;

/// Deletes the row that is so many years old; whether it may.
async fn deleted(pool: &PgPool, table: &str, years: i32) -> bool {
    let mut tx = pool.begin().await.unwrap();
    let (write, delete) = match table {
        "orders" => (
            "insert into orders (order_id, account_id, amount_fen, provider, state, created_at, expires_at, query_after)
             values (gen_random_uuid(), gen_random_uuid(), 1, 'wechat_native', 'created',
                     now() - make_interval(years => $1, days => 1), now(), now())",
            "delete from orders",
        ),
        _ => (
            "insert into reconciliation_cases (case_id, provider, day, provider_transaction_id, kind, billed_fen, booked_fen, opened_at)
             values (gen_random_uuid(), 'wechat', current_date, '42', 'amount', 1, 2,
                     now() - make_interval(years => $1, days => 1))",
            "delete from reconciliation_cases",
        ),
    };
    sqlx::query(write)
        .bind(years)
        .execute(&mut *tx)
        .await
        .unwrap();
    sqlx::query("delete from order_channels")
        .execute(&mut *tx)
        .await
        .unwrap();
    sqlx::query(delete).execute(&mut *tx).await.is_ok()
}

#[sqlx::test]
async fn of_several_bases_to_keep_a_row_the_longest_wins(pool: PgPool) {
    for (table, years, may) in [
        ("orders", 3, false),
        ("orders", 29, false),
        ("orders", 30, true),
        ("reconciliation_cases", 3, false),
        ("reconciliation_cases", 9, false),
        ("reconciliation_cases", 10, true),
    ] {
        assert_eq!(deleted(&pool, table, years).await, may, "{table} {years}");
    }
    let change = sqlx::query("update retention_bases set years = 1");
    assert!(
        change.execute(&pool).await.is_err(),
        "a basis is added, never changed"
    );
}
