use chrono::Duration;
use sqlx::PgPool;
use wanwu_proto::verification::v1::AgeBand;

use crate::world::{World, resident_id};

#[sqlx::test]
async fn the_age_band_of_a_verified_person_is_told(pool: PgPool) {
    let world = World::new(pool).await;
    // Today is 2026-11-23 in Shanghai.
    for (birth, band) in [
        ("20190101", AgeBand::Under8),
        ("20181124", AgeBand::Under8),
        ("20181123", AgeBand::AgeBand8To13),
        ("20121123", AgeBand::AgeBand14To17),
        ("20081124", AgeBand::AgeBand14To17),
        ("20081123", AgeBand::Adult),
    ] {
        let account = world.verified(&resident_id(birth)).await;
        let gate = world.gate(account).await;
        assert!(gate.verified);
        assert_eq!(gate.age_band(), band, "{birth}");
    }
}

#[sqlx::test]
async fn a_birthday_raises_the_band_and_is_told_once(pool: PgPool) {
    let world = World::new(pool).await;
    let account = world.verified(&resident_id("20081124")).await;
    assert_eq!(world.gate(account).await.age_band(), AgeBand::AgeBand14To17);
    assert_eq!(
        world.app().band_again().await.unwrap(),
        0,
        "looked at today"
    );
    assert_eq!(world.told().await, 1);
    // It begins at midnight in Shanghai, not in Greenwich: here it is noon.
    world.clock.advance(Duration::hours(11));
    assert_eq!(world.app().band_again().await.unwrap(), 0);
    world.clock.advance(Duration::hours(1));
    assert_eq!(world.app().band_again().await.unwrap(), 1);
    let gate = world.gate(account).await;
    assert_eq!((gate.age_band(), gate.version), (AgeBand::Adult, 2));
    assert_eq!(world.told().await, 2);
    world.clock.advance(Duration::days(1));
    assert_eq!(
        world.app().band_again().await.unwrap(),
        0,
        "an adult stays one"
    );
    assert_eq!(world.told().await, 2);
}

#[sqlx::test]
async fn ages_are_looked_at_with_a_single_connection(pool: PgPool) {
    let world = World::with_connections(pool, 1).await;
    let account = world.verified(&resident_id("20081124")).await;
    world.clock.advance(Duration::days(1));
    // Another process: it has no key in memory and must read it.
    assert_eq!(world.replica().band_again().await.unwrap(), 1);
    assert_eq!(world.gate(account).await.age_band(), AgeBand::Adult);
}
