use std::sync::Arc;

use chrono::{DateTime, Utc};
use sqlx::PgPool;
use uuid::Uuid;
use wanwu_clock::SystemEntropy;
use wanwu_personal::{Aad, KeyProvider, SCHEMA, SubjectKeyError, SubjectKeys};

const OLD: &str = r#"{"active":"k1","keys":{"k1":"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="}}"#;
const BOTH: &str = r#"{"active":"k2","keys":{"k1":"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
    "k2":"//////////////////////////////////////////8="}}"#;
const NEW: &str = r#"{"active":"k2","keys":{"k2":"//////////////////////////////////////////8="}}"#;
const PLACE: Aad<'_> = Aad {
    table: "accounts",
    column: "phone",
    row: "1",
};
const NOW: DateTime<Utc> = DateTime::UNIX_EPOCH;

async fn keys(pool: &PgPool, json: &str) -> SubjectKeys {
    let provider = KeyProvider::from_json(json).unwrap();
    SubjectKeys::new(
        pool.clone(),
        Arc::new(provider),
        Arc::new(SystemEntropy::default()),
    )
}

async fn schema(pool: &PgPool) {
    sqlx::raw_sql(SCHEMA).execute(pool).await.unwrap();
}

#[sqlx::test(migrations = false)]
async fn a_person_has_one_key_however_many_ask_at_once(pool: PgPool) {
    schema(&pool).await;
    let keys = keys(&pool, OLD).await;
    let subject = Uuid::from_u128(1);
    let asking = (0..8).map(|_| {
        let keys = keys.clone();
        async move { keys.key(subject, NOW).await.unwrap() }
    });
    let mut set = tokio::task::JoinSet::from_iter(asking);
    let mut all = Vec::new();
    while let Some(key) = set.join_next().await {
        all.push(key.unwrap());
    }
    let sealed = all[0].seal(PLACE, b"13800138000").unwrap();
    for key in &all {
        assert_eq!(&*key.open(PLACE, &sealed).unwrap(), b"13800138000");
    }
}

#[sqlx::test(migrations = false)]
async fn what_is_destroyed_stays_destroyed(pool: PgPool) {
    schema(&pool).await;
    let keys = keys(&pool, OLD).await;
    let (subject, never) = (Uuid::from_u128(1), Uuid::from_u128(2));
    assert!(matches!(
        keys.existing(subject).await,
        Err(SubjectKeyError::Unknown)
    ));
    keys.key(subject, NOW).await.unwrap();
    assert!(keys.destroy(subject, NOW).await.unwrap());
    assert!(!keys.destroy(subject, NOW).await.unwrap());
    assert!(!keys.destroy(never, NOW).await.unwrap());
    for subject in [subject, never] {
        assert!(matches!(
            keys.key(subject, NOW).await,
            Err(SubjectKeyError::Destroyed)
        ));
    }
    let left: (i64,) =
        sqlx::query_as("select count(*) from subject_keys where wrapped is not null")
            .fetch_one(&pool)
            .await
            .unwrap();
    assert_eq!(left.0, 0);
}

#[sqlx::test(migrations = false)]
async fn a_key_is_of_no_use_for_another_person(pool: PgPool) {
    schema(&pool).await;
    let keys = keys(&pool, OLD).await;
    keys.key(Uuid::from_u128(1), NOW).await.unwrap();
    keys.key(Uuid::from_u128(2), NOW).await.unwrap();
    let swap = "update subject_keys a set wrapped = b.wrapped from subject_keys b
                where a.subject <> b.subject";
    sqlx::query(swap).execute(&pool).await.unwrap();
    assert!(matches!(
        keys.existing(Uuid::from_u128(1)).await,
        Err(SubjectKeyError::Key(_))
    ));
}

#[sqlx::test(migrations = false)]
async fn keys_can_be_rotated(pool: PgPool) {
    schema(&pool).await;
    let subject = Uuid::from_u128(1);
    let old = keys(&pool, OLD).await;
    let sealed = old
        .key(subject, NOW)
        .await
        .unwrap()
        .seal(PLACE, b"x")
        .unwrap();
    old.destroy(Uuid::from_u128(9), NOW).await.unwrap();
    let both = keys(&pool, BOTH).await;
    assert_eq!(both.rewrap(100).await.unwrap(), 1);
    assert_eq!(both.rewrap(100).await.unwrap(), 0);
    let new = keys(&pool, NEW).await;
    assert_eq!(
        &*new
            .existing(subject)
            .await
            .unwrap()
            .open(PLACE, &sealed)
            .unwrap(),
        b"x"
    );
    assert!(matches!(
        old.existing(subject).await,
        Err(SubjectKeyError::Key(_))
    ));
}
