use std::path::Path;

use billing::commands::PriceListError;
use chrono::{DateTime, Duration, Utc};
use sqlx::PgPool;
use tempfile::TempDir;
use tonic::{Code, Request};
use wanwu_proto::billing::v1::{
    GetPriceListRequest, PriceList, Unit, price_service_server::PriceService,
};

use crate::world::{World, price_lists};

fn folder(lists: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in lists {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

fn list(version: i32, start: &str, output: i64) -> String {
    format!(
        "version = {version}\neffective_time = \"{start}\"\n\n[[prices]]\nmodel = \"m\"\n\
         input_token = 1\noutput_token = {output}\n"
    )
}

async fn publish(world: &World, lists: &[(&str, &str)]) -> Result<(), PriceListError> {
    world.app().publish_price_lists(folder(lists).path()).await
}

async fn at(world: &World, instant: Option<DateTime<Utc>>) -> Result<PriceList, tonic::Status> {
    let instant = instant.map(|at| prost_types::Timestamp {
        seconds: at.timestamp(),
        nanos: 0,
    });
    let request = Request::new(GetPriceListRequest { instant });
    let answer = world.api.get_price_list(request).await?;
    Ok(answer.into_inner().price_list.unwrap())
}

#[sqlx::test]
async fn the_models_of_the_catalogue_have_prices(pool: PgPool) {
    let world = World::new(pool).await;
    let list = at(&world, None).await.unwrap();
    assert_eq!(list.version, 1);
    for (model, input, output) in [
        ("qwen2.5-coder-0.5b-instruct", 500, 1000),
        ("qwen2.5-coder-1.5b-instruct", 1000, 3000),
        ("scripted", 700, 1300),
    ] {
        for (unit, nanos) in [(Unit::InputToken, input), (Unit::OutputToken, output)] {
            let price = list.prices.iter().find(|price| {
                price.model == model && price.unit() == unit && price.nanos_per_unit == nanos
            });
            assert!(price.is_some(), "{model} {unit:?}");
        }
    }
}

#[sqlx::test]
async fn the_list_in_force_depends_on_the_instant(pool: PgPool) {
    let world = World::new(pool).await;
    let second = list(2, "2026-12-01T00:00:00+08:00", 9);
    publish(&world, &[("2.toml", &second)]).await.unwrap();
    let start: DateTime<Utc> = "2026-11-30T16:00:00Z".parse().unwrap();
    for (instant, version) in [
        (None, 1),
        (Some(start - Duration::seconds(1)), 1),
        (Some(start), 2),
    ] {
        assert_eq!(at(&world, instant).await.unwrap().version, version);
    }
    let before = at(&world, Some(DateTime::UNIX_EPOCH)).await.unwrap_err();
    assert_eq!(before.code(), Code::NotFound);
    world.clock.advance(Duration::days(30));
    assert_eq!(at(&world, None).await.unwrap().version, 2);
}

#[sqlx::test]
async fn a_list_is_published_once_however_many_replicas_start(pool: PgPool) {
    let world = World::new(pool).await;
    let replicas: Vec<_> = (0..4).map(|_| world.replica()).collect();
    let starts = replicas
        .iter()
        .map(|replica| replica.0.publish_price_lists(price_lists()));
    for start in futures::future::join_all(starts).await {
        start.unwrap();
    }
    let told: i64 = sqlx::query_scalar(
        "select count(*) from outbox where type = 'wanwu.billing.v1.PriceListPublished'",
    )
    .fetch_one(&world.pool)
    .await
    .unwrap();
    assert_eq!(told, 1);
}

#[sqlx::test]
async fn a_list_that_was_changed_under_its_version_is_refused(pool: PgPool) {
    let world = World::new(pool).await;
    let (start, later) = ("2026-12-01T00:00:00Z", "2026-12-02T00:00:00Z");
    publish(&world, &[("2.toml", &list(2, start, 9))])
        .await
        .unwrap();
    for changed in [list(2, start, 8), list(2, later, 9)] {
        let refused = publish(&world, &[("2.toml", &changed)]).await;
        assert!(matches!(refused, Err(PriceListError::Changed(2))));
    }
    assert!(at(&world, None).await.is_ok());
}

#[sqlx::test]
async fn lists_that_cannot_be_are_refused_whole(pool: PgPool) {
    let world = World::new(pool).await;
    let (one, two) = ("2026-12-01T00:00:00Z", "2026-12-02T00:00:00Z");
    let good = list(7, one, 1);
    let twice = format!("{good}{}", &good[good.find("[[").unwrap()..]);
    let cases: [&[(&str, &str)]; 6] = [
        &[("a.toml", &list(0, one, 1))],
        &[("a.toml", &list(7, one, -1))],
        &[("a.toml", &twice)],
        &[("a.toml", &good), ("b.toml", &list(7, two, 1))],
        &[("a.toml", &list(7, two, 1)), ("b.toml", &list(8, one, 1))],
        &[("a.toml", "version = 7\nprices = []\ndiscount = 1")],
    ];
    for lists in cases {
        assert!(publish(&world, lists).await.is_err(), "{lists:?}");
    }
    let refused = world.app().publish_price_lists(Path::new("/nowhere")).await;
    assert!(matches!(refused, Err(PriceListError::Read(..))));
    let count: i64 = sqlx::query_scalar("select count(*) from price_lists")
        .fetch_one(&world.pool)
        .await
        .unwrap();
    assert_eq!(count, 1);
}
