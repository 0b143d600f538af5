use sqlx::PgPool;
use wanwu_postgres::{
    SCHEMA,
    residency::{ResidencyError, check, mark},
};

#[sqlx::test(migrations = false)]
async fn a_service_refuses_the_database_of_another_region(pool: PgPool) {
    sqlx::raw_sql(SCHEMA).execute(&pool).await.unwrap();
    let unmarked = check(&pool, "cn-north-1").await;
    assert!(
        matches!(unmarked, Err(ResidencyError::Unmarked)),
        "{unmarked:?}"
    );
    mark(&pool, "cn-north-1").await.unwrap();
    mark(&pool, "cn-north-1").await.unwrap();
    check(&pool, "cn-north-1").await.unwrap();
    for result in [
        check(&pool, "cn-east-3").await,
        mark(&pool, "cn-east-3").await,
    ] {
        assert!(
            matches!(result, Err(ResidencyError::Elsewhere { .. })),
            "{result:?}"
        );
    }
    let abroad = mark(&pool, "us-east-1").await;
    assert!(
        matches!(abroad, Err(ResidencyError::NotMainland(_))),
        "{abroad:?}"
    );
}
