use sqlx::PgPool;
use uuid::Uuid;
use wanwu_ids::AppId;
use wanwu_proto::device::v1::DeviceIdentifierKind::{AndroidId, Oaid};

use crate::world::{ANDROID_ID, MAX_DEVICES, OAID, World, reason};

async fn pseudonyms(world: &World, app_id: AppId) -> Vec<Vec<u8>> {
    sqlx::query_scalar("select pseudonym from devices where app_id = $1")
        .bind(app_id)
        .fetch_all(&world.pool)
        .await
        .unwrap()
}

#[sqlx::test]
async fn a_device_is_one_in_its_app_and_another_in_every_other(pool: PgPool) {
    let world = World::new(pool).await;
    let ((_, app), (_, other)) = (world.owned_app(), world.owned_app());
    let first = world.register(app, Oaid, OAID).await.unwrap();
    let again = world.register(app, Oaid, OAID).await.unwrap();
    assert_eq!(first.device_id, again.device_id);
    let elsewhere = world.register(other, Oaid, OAID).await.unwrap();
    assert_ne!(first.device_id, elsewhere.device_id);
    let (here, there) = (
        pseudonyms(&world, app).await,
        pseudonyms(&world, other).await,
    );
    assert_eq!((here.len(), there.len()), (1, 1));
    assert_ne!(here, there, "two apps could compare their devices");
    // The letters of an AndroidID are the same in either case.
    let lower = world.register(app, AndroidId, ANDROID_ID).await.unwrap();
    let upper = ANDROID_ID.to_uppercase();
    let upper = world.register(app, AndroidId, &upper).await.unwrap();
    assert_eq!(lower.device_id, upper.device_id);
}

#[sqlx::test]
async fn a_new_token_ends_the_one_before(pool: PgPool) {
    let world = World::new(pool).await;
    let (_, app) = world.owned_app();
    let first = world.register(app, Oaid, OAID).await.unwrap();
    let before = world.gate(&first.device_id).await;
    let second = world.register(app, Oaid, OAID).await.unwrap();
    assert_ne!(first.device_token, second.device_token);
    let after = world.gate(&second.device_id).await;
    // Routers compare the secret with this hash, and the higher version wins.
    assert_ne!(before.secret_hash, after.secret_hash);
    assert!(after.version > before.version);
    let id = Uuid::try_parse(&second.device_token[3..35]).unwrap();
    assert_eq!(id.to_string(), second.device_id);
}

#[sqlx::test]
async fn twenty_registrations_of_a_device_at_once_are_one_device(pool: PgPool) {
    let world = World::new(pool).await;
    let (_, app) = world.owned_app();
    let calls = (0..20).map(|_| world.register(app, Oaid, OAID));
    let answers = futures::future::join_all(calls).await;
    let mut ids: Vec<_> = answers
        .into_iter()
        .map(|answer| answer.unwrap().device_id)
        .collect();
    ids.dedup();
    assert_eq!(ids.len(), 1);
}

#[sqlx::test]
async fn an_app_has_as_many_devices_as_it_may(pool: PgPool) {
    let world = World::new(pool).await;
    let (_, app) = world.owned_app();
    for number in 0..MAX_DEVICES {
        let identifier = format!("device-number-{number:04}");
        world.register(app, Oaid, &identifier).await.unwrap();
    }
    let refused = world.register(app, Oaid, OAID).await.unwrap_err();
    assert_eq!(reason(&refused), "TOO_MANY_DEVICES");
    // One that it has can still get a token; another app has its own.
    world
        .register(app, Oaid, "device-number-0000")
        .await
        .unwrap();
    let (_, other) = world.owned_app();
    world.register(other, Oaid, OAID).await.unwrap();
}
