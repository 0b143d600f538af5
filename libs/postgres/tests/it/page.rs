use sqlx::PgPool;
use wanwu_postgres::page::PageRequest;

#[sqlx::test(migrations = false)]
async fn pages_show_each_row_once(pool: PgPool) {
    let rows = "create table t as select n, n % 7 as m from generate_series(1, 95) n";
    sqlx::raw_sql(rows).execute(&pool).await.unwrap();
    let (mut seen, mut token) = (Vec::new(), String::new());
    loop {
        let request = PageRequest::<(i32, i32)>::parse(10, &token).unwrap();
        let rows: Vec<(i32, i32)> = sqlx::query_as(
            "select m, n from t where $1::int is null or (m, n) > ($1, $2) order by m, n limit $3",
        )
        .bind(request.after.map(|key| key.0))
        .bind(request.after.map(|key| key.1))
        .bind(request.limit())
        .fetch_all(&pool)
        .await
        .unwrap();
        let page = request.page(rows, |row| *row);
        assert!(page.items.len() <= 10);
        seen.extend(page.items);
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    let mut unique = seen.clone();
    unique.sort_unstable();
    unique.dedup();
    assert_eq!((seen.len(), unique.len()), (95, 95));
}
