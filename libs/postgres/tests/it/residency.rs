use sqlx::PgPool;
use wanwu_postgres::{
    SCHEMA,
    residency::{ResidencyError, check, check_pool, mark, mark_pool},
};

#[sqlx::test(migrations = false)]
async fn a_service_refuses_the_database_of_another_region(pool: PgPool) {
    sqlx::raw_sql(SCHEMA).execute(&pool).await.unwrap();
    let mut connection = pool.acquire().await.unwrap();
    let unmarked = check(&mut connection, "cn-north-1").await;
    assert!(
        matches!(unmarked, Err(ResidencyError::Unmarked)),
        "{unmarked:?}"
    );
    mark(&mut connection, "cn-north-1").await.unwrap();
    mark(&mut connection, "cn-north-1").await.unwrap();
    check(&mut connection, "cn-north-1").await.unwrap();
    for result in [
        check(&mut connection, "cn-east-3").await,
        mark(&mut connection, "cn-east-3").await,
    ] {
        assert!(
            matches!(result, Err(ResidencyError::Elsewhere { .. })),
            "{result:?}"
        );
    }
    check_pool(pool.clone(), "cn-north-1".to_owned())
        .await
        .unwrap();
    mark_pool(pool, "cn-north-1".to_owned()).await.unwrap();
    let abroad = mark(&mut connection, "us-east-1").await;
    assert!(
        matches!(abroad, Err(ResidencyError::NotMainland(_))),
        "{abroad:?}"
    );
}
