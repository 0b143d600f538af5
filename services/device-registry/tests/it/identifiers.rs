use sqlx::PgPool;
use wanwu_proto::device::v1::DeviceIdentifierKind::{AndroidId, Oaid, Unspecified};

use crate::world::{ANDROID_ID, OAID, World, reason};

#[sqlx::test]
async fn only_identifiers_that_tell_devices_apart_are_taken(pool: PgPool) {
    let world = World::new(pool).await;
    let (_, app) = world.owned_app();
    for (kind, identifier) in [
        (Oaid, ""),
        (Oaid, "short"),
        (Oaid, "a".repeat(65).as_str()),
        (Oaid, "1f3a5b7c 9d0e 4f21 8a6b c2d4e6f80912"),
        (Oaid, "00000000-0000-0000-0000-000000000000"),
        (AndroidId, "a1b2c3d4e5f6071"),
        (AndroidId, "a1b2c3d4e5f607188"),
        (AndroidId, "g1b2c3d4e5f60718"),
        (AndroidId, "0000000000000000"),
        (AndroidId, "9774d56d682e549c"),
        (AndroidId, OAID),
        (Unspecified, OAID),
    ] {
        let refused = world.register(app, kind, identifier).await.unwrap_err();
        assert_eq!(reason(&refused), "INVALID_ARGUMENT", "{identifier}");
        let text = format!("{refused:?}");
        assert!(
            identifier.is_empty() || !text.contains(identifier),
            "{text}"
        );
    }
    for (kind, identifier) in [(Oaid, OAID), (AndroidId, ANDROID_ID)] {
        world.register(app, kind, identifier).await.unwrap();
    }
}

#[sqlx::test]
async fn no_identifier_and_no_token_is_in_any_row(pool: PgPool) {
    let world = World::new(pool).await;
    let (_, app) = world.owned_app();
    let mut planted = vec![OAID.to_owned(), ANDROID_ID.to_owned()];
    for (kind, identifier) in [(Oaid, OAID), (AndroidId, ANDROID_ID)] {
        let made = world.register(app, kind, identifier).await.unwrap();
        planted.push(made.device_token[36..].to_owned());
    }
    let tables: Vec<String> =
        sqlx::query_scalar("select tablename::text from pg_tables where schemaname = 'public'")
            .fetch_all(&world.pool)
            .await
            .unwrap();
    let mut looked = 0;
    for table in tables {
        let sql = sqlx::AssertSqlSafe(format!("select t::text from {table} t"));
        let rows: Vec<String> = sqlx::query_scalar(sql)
            .fetch_all(&world.pool)
            .await
            .unwrap();
        for row in rows {
            looked += 1;
            for value in &planted {
                let hexed = hex::encode(value);
                assert!(
                    !row.contains(value) && !row.contains(&hexed),
                    "{table}: {row}"
                );
            }
        }
    }
    assert!(looked >= 2);
}
