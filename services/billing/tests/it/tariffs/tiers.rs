//! Tiers: who spent much pays other prices.

use chrono::Duration;
use sqlx::PgPool;
use tonic::Request;
use wanwu_ids::AccountId;
use wanwu_proto::billing::v1::{
    GetPriceListRequest, PriceList, Unit, price_service_server::PriceService,
};

use super::{bill, lend, quote, usage, world};
use crate::world::{World, YUAN, nanos};

/// Spends an amount with calls of a lease of its own: pages of the first tier and tokens.
async fn spend(world: &World, account: AccountId, tier: i32, amount: i64) {
    let answer = lend(world, account, amount).await;
    assert_eq!(answer.price_list.as_ref().unwrap().tier, tier);
    let lease = answer.lease.unwrap();
    let page = if tier == 0 { 5_000_000 } else { 4_000_000 };
    let call = if tier == 0 { 10_000 } else { 0 };
    let pages = (amount - call) / page;
    let mut told = vec![(Unit::Page, pages)];
    told.extend((call > 0).then_some((Unit::Call, 1)));
    let cost = pages * page + call;
    world
        .settle(&usage(world, &lease, &told, tier, cost))
        .await
        .unwrap();
    assert!(world.close(&lease, 1, cost).await.unwrap());
}

fn price(list: &PriceList, unit: Unit) -> Option<i64> {
    let price = list
        .prices
        .iter()
        .find(|p| p.model == "m" && p.unit() == unit);
    price.map(|price| price.nanos_per_unit)
}

#[sqlx::test]
async fn who_spent_much_this_month_or_the_last_pays_the_prices_of_a_tier(pool: PgPool) {
    let world = world(pool).await;
    let account = world.customer(10_000).await;
    let other = world.customer(1000).await;
    let input = [(Unit::InputToken, 1_000)];
    let old = lend(&world, account, YUAN / 10).await;
    spend(&world, account, 0, 2 * YUAN + 10_000).await;

    let answer = lend(&world, account, YUAN / 10).await;
    let list = answer.price_list.unwrap();
    assert_eq!((list.tier, price(&list, Unit::InputToken)), (1, Some(600)));
    assert_eq!(
        price(&list, Unit::Call),
        None,
        "a tier has a whole set of prices"
    );
    assert!(list.prices.iter().any(|price| price.model == "plain"));
    let quoted = quote(&world, Some(account), "m", &input).await.unwrap();
    assert_eq!((nanos(quoted.amount), quoted.price_tier), (600_000, 1));
    for (who, id) in [("another", Some(other)), ("nobody", None)] {
        let quoted = quote(&world, id, "m", &input).await.unwrap();
        assert_eq!(
            (nanos(quoted.amount), quoted.price_tier),
            (710_000, 0),
            "{who}"
        );
    }
    // A lease from before keeps its tier: that is what its router computes with.
    let lease = old.lease.unwrap();
    let told = [(Unit::InputToken, 10), (Unit::Call, 1)];
    world
        .settle(&usage(&world, &lease, &told, 0, 17_000))
        .await
        .unwrap();
    // A router of the version before tells no tier; what it computed with is the lease's.
    let lease = answer.lease.unwrap();
    let told = [(Unit::InputToken, 10)];
    let untold = usage(&world, &lease, &told, 0, 6_000);
    world.settle(&untold).await.unwrap();
    assert_eq!(bill(&world, account, &untold).await.price_tier, 1);

    // In the month after, the last one counts; in the one after that, neither does.
    world.clock.advance(Duration::days(20));
    spend(&world, account, 1, YUAN).await;
    world.clock.advance(Duration::days(20));
    let list = lend(&world, account, YUAN / 10).await.price_list.unwrap();
    assert_eq!(list.tier, 0, "last month it was one yuan");
}

#[sqlx::test]
async fn a_month_begins_at_midnight_in_china(pool: PgPool) {
    let world = world(pool).await;
    let account = world.customer(10_000).await;
    // From noon of the 23rd to a minute before December, which in London begins eight hours later.
    world
        .clock
        .advance(Duration::days(7) + Duration::minutes(11 * 60 + 59));
    spend(&world, account, 0, 3 * YUAN).await;
    world.clock.advance(Duration::minutes(2));
    spend(&world, account, 1, 3 * YUAN).await;
    let months: Vec<(String, i64)> = sqlx::query_as(
        "select month::text, spent_nanos from monthly_spending where account_id = $1 order by 1",
    )
    .bind(account)
    .fetch_all(&world.pool)
    .await
    .unwrap();
    let names: Vec<&str> = months.iter().map(|(month, _)| month.as_str()).collect();
    assert_eq!(names, ["2026-11-01", "2026-12-01"]);
    let list = lend(&world, account, YUAN / 10).await.price_list.unwrap();
    assert_eq!(list.tier, 1, "3 yuan in each: neither reached 5");
}

#[sqlx::test]
async fn the_published_list_shows_every_tier(pool: PgPool) {
    let world = world(pool).await;
    let request = Request::new(GetPriceListRequest { instant: None });
    let list = world.api.get_price_list(request).await.unwrap();
    let list = list.into_inner().price_list.unwrap();
    assert_eq!((list.version, list.tier, list.tiers.len()), (2, 0, 2));
    assert_eq!(price(&list, Unit::CachedInputToken), Some(70));
    let [first, second] = list.tiers.as_slice() else {
        panic!()
    };
    assert_eq!((first.tier, first.threshold_nanos), (1, 2 * YUAN));
    assert_eq!(first.prices.len(), 4);
    assert_eq!((second.tier, second.prices.len()), (2, 0));
}
