//! Packages and free quotas pay before the balance, and end.

use std::path::Path;

use chrono::Duration;
use futures::future::join_all;
use sqlx::PgPool;
use tonic::{Code, Request, Status};
use wanwu_ids::{AccountId, OperatorId};
use wanwu_proto::billing::v1::{
    AcquireLeaseRequest, CreateTopUpOrderRequest, GetBalanceRequest, GrantPackageRequest, Lease,
    ListPackageProductsRequest, ListPackagesRequest, Package,
    balance_service_server::BalanceService, package_service_server::PackageService,
};

use crate::world::{PRICES, World, YUAN, nanos, reason};

pub(crate) const PRODUCTS: &str = r#"
    [[packages]]
    product = "sold"
    offer = "sold"
    price_fen = 100
    credit_nanos = 1500000000
    days = 30

    [[packages]]
    product = "narrow"
    offer = "granted"
    credit_nanos = 300000000
    models = ["scripted", "another"]
    days = 1

    [[packages]]
    product = "wide"
    offer = "granted"
    credit_nanos = 200000000
    days = 2
"#;

const FREE: &str = r#"
    [[packages]]
    product = "welcome"
    offer = "free_once"
    credit_nanos = 100000000
    days = 90

    [[packages]]
    product = "monthly"
    offer = "free_monthly"
    credit_nanos = 50000000
"#;

pub(crate) async fn publish(world: &World, products: &str) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("packages.toml");
    std::fs::write(&file, products).unwrap();
    world.app().publish_packages(&file).await.unwrap();
}

async fn grant(world: &World, account: AccountId, product: &str) -> Result<Package, Status> {
    let operator: OperatorId = world.ids.id();
    let request = GrantPackageRequest {
        request_id: world.ids.id::<()>().to_string(),
        account_id: account.to_string(),
        product: product.to_owned(),
    };
    let request = world.by_operator(operator, request);
    let answer = world.api.grant_package(request).await?;
    Ok(answer.into_inner().package.unwrap())
}

async fn packages(world: &World, account: AccountId) -> Vec<Package> {
    let request = world.by(account, ListPackagesRequest::default());
    let answer = world.api.list_packages(request).await.unwrap();
    answer.into_inner().packages
}

/// What is left of the account's packages of a product.
pub(crate) async fn left(world: &World, account: AccountId, product: &str) -> i64 {
    let packages = packages(world, account).await;
    let of = packages.into_iter().filter(|p| p.product == product);
    of.map(|package| nanos(package.left)).sum()
}

/// The sum of the account's ledger accounts of a kind.
pub(crate) async fn booked(world: &World, account: AccountId, kind: &str) -> i64 {
    let sql = "select coalesce(sum(balance_nanos), 0)::bigint from ledger_accounts
               where account_id = $1 and kind = $2";
    let booked = sqlx::query_scalar(sql).bind(account).bind(kind);
    booked.fetch_one(&world.pool).await.unwrap()
}

fn request(world: &World, account: AccountId, model: &str, nanos: i64) -> AcquireLeaseRequest {
    let calls = (world.ids.id(), world.ids.id());
    AcquireLeaseRequest {
        model: model.to_owned(),
        ..world.lease_request_of(account, world.epoch(), calls, (nanos, nanos))
    }
}

pub(crate) async fn lease(world: &World, account: AccountId, model: &str, nanos: i64) -> Lease {
    let request = request(world, account, model, nanos);
    world.acquire(&request).await.unwrap()
}

/// One call that costs so many tokens of answer.
pub(crate) async fn spend(world: &World, lease: &Lease, output: i64) {
    let usage = world.usage(lease, 0, output);
    world.settle(&usage).await.unwrap();
    let cost = output * PRICES.1;
    assert!(world.close(lease, 1, cost).await.unwrap());
}

#[sqlx::test]
async fn packages_pay_before_the_balance_and_the_one_that_ends_first_before_the_others(
    pool: PgPool,
) {
    let world = World::new(pool).await;
    publish(&world, PRODUCTS).await;
    let account = world.customer(1000).await;
    grant(&world, account, "wide").await.unwrap();
    grant(&world, account, "narrow").await.unwrap();
    // 0.6 yuan: the narrow one, which ends first, then the wide one, then the balance.
    let mixed = lease(&world, account, "scripted", 600_000_000).await;
    assert_eq!(
        mixed.models,
        ["scripted"],
        "a package for some models is in it"
    );
    assert_eq!(left(&world, account, "narrow").await, 0);
    assert_eq!(left(&world, account, "wide").await, 0);
    assert_eq!(world.balance(account).await, (9_900_000_000, 600_000_000));
    world.assert_sound().await;
    // 0.39 yuan are spent: 0.3 of the narrow one and 0.09 of the wide one.
    spend(&world, &mixed, 300_000).await;
    assert_eq!(left(&world, account, "narrow").await, 0);
    assert_eq!(left(&world, account, "wide").await, 110_000_000);
    assert_eq!(world.balance(account).await, (10 * YUAN, 0));
    // Another model is paid by the wide one only.
    grant(&world, account, "narrow").await.unwrap();
    let other = lease(&world, account, "custom", 120_000_000).await;
    assert!(other.models.is_empty());
    assert_eq!(left(&world, account, "narrow").await, 300_000_000);
    assert_eq!(world.balance(account).await, (9_990_000_000, 120_000_000));
    assert!(world.close(&other, 0, 0).await.unwrap());
    let request = world.by(account, GetBalanceRequest {});
    let balance = world.api.get_balance(request).await.unwrap().into_inner();
    assert_eq!(nanos(balance.packages), 410_000_000);
    world.assert_sound().await;
}

#[sqlx::test]
async fn two_hundred_at_once_spend_a_package_and_the_balance_to_the_last_unit(pool: PgPool) {
    let world = World::new(pool).await;
    publish(&world, PRODUCTS).await;
    let account = world.customer(100).await;
    grant(&world, account, "narrow").await.unwrap();
    let nanos = 10_000_000;
    let requests: Vec<_> = (0..200)
        .map(|_| request(&world, account, "scripted", nanos))
        .collect();
    let leases = join_all(requests.iter().map(|request| world.acquire(request))).await;
    let granted: Vec<_> = leases.into_iter().filter_map(Result::ok).collect();
    assert_eq!(
        granted.len(),
        130,
        "0.3 yuan of the package, 1 of the balance"
    );
    assert_eq!(world.balance(account).await, (0, 1_300_000_000));
    world.assert_sound().await;
    for lease in &granted {
        assert!(world.close(lease, 0, 0).await.unwrap());
    }
    assert_eq!(world.balance(account).await, (YUAN, 0));
    assert_eq!(left(&world, account, "narrow").await, 300_000_000);
    world.assert_sound().await;
}

#[sqlx::test]
async fn what_is_left_at_the_end_is_gone_also_what_comes_back_later(pool: PgPool) {
    let world = World::new(pool).await;
    publish(&world, PRODUCTS).await;
    let account = world.account();
    grant(&world, account, "narrow").await.unwrap();
    let out = lease(&world, account, "scripted", 100_000_000).await;
    // 23 November, noon: it ends with the 24th.
    world
        .clock
        .advance(Duration::hours(36) - Duration::seconds(1));
    assert_eq!(world.app().expire_packages().await.unwrap(), 0);
    let last = lease(&world, account, "scripted", 100_000_000).await;
    assert!(world.close(&last, 0, 0).await.unwrap());
    world.clock.advance(Duration::seconds(1));
    assert_eq!(world.app().expire_packages().await.unwrap(), 1);
    assert_eq!(world.app().expire_packages().await.unwrap(), 0);
    assert_eq!(booked(&world, account, "expired").await, 200_000_000);
    spend(&world, &out, 50_000).await;
    assert_eq!(booked(&world, account, "expired").await, 235_000_000);
    assert_eq!(booked(&world, account, "revenue").await, 65_000_000);
    assert_eq!(booked(&world, account, "discount").await, -300_000_000);
    assert_eq!(booked(&world, account, "package").await, 0);
    let short = world
        .acquire(&request(&world, account, "scripted", 1))
        .await;
    assert_eq!(reason(&short.unwrap_err()), "INSUFFICIENT_BALANCE");
    world.assert_sound().await;
}

#[sqlx::test]
async fn a_free_quota_comes_once_by_itself_however_many_ask_at_once(pool: PgPool) {
    let world = World::new(pool).await;
    publish(&world, FREE).await;
    let account = world.account();
    let requests: Vec<_> = (0..30)
        .map(|_| request(&world, account, "scripted", 1_000_000))
        .collect();
    for lease in join_all(requests.iter().map(|request| world.acquire(request))).await {
        let lease = lease.unwrap();
        assert!(world.close(&lease, 0, 0).await.unwrap());
    }
    let had = packages(&world, account).await;
    assert_eq!(had.len(), 2);
    assert_eq!(booked(&world, account, "package").await, 150_000_000);
    // The monthly one ends with the month, and the next one is another.
    world.clock.advance(Duration::days(8));
    world.app().expire_packages().await.unwrap();
    let next = lease(&world, account, "scripted", 150_000_000).await;
    assert!(world.close(&next, 0, 0).await.unwrap());
    assert_eq!(packages(&world, account).await.len(), 3);
    assert_eq!(booked(&world, account, "expired").await, 50_000_000);
    assert_eq!(left(&world, account, "monthly").await, 50_000_000);
    // A replica that does not say for which call gets none.
    let stranger = world.account();
    let silent = world.lease_request(stranger, world.epoch(), 1, 1);
    world.acquire(&silent).await.unwrap_err();
    assert_eq!(packages(&world, stranger).await, []);
    world.assert_sound().await;
}

#[sqlx::test]
async fn a_package_is_bought_by_an_order_at_its_price(pool: PgPool) {
    let world = World::new(pool).await;
    publish(&world, PRODUCTS).await;
    let account = world.account();
    let order = |fen: i64, product: &str| CreateTopUpOrderRequest {
        package_product: product.to_owned(),
        ..world.order_request(fen)
    };
    for (fen, product) in [(99, "sold"), (100, "narrow"), (100, "unheard-of")] {
        let refused = world.create_order(account, &order(fen, product)).await;
        assert_eq!(
            refused.unwrap_err().code(),
            Code::InvalidArgument,
            "{product}"
        );
    }
    let order = world
        .create_order(account, &order(100, "sold"))
        .await
        .unwrap();
    assert_eq!(order.package_product, "sold");
    let number = order.order_id.replace('-', "");
    let paid = world.wechat.pay(&number);
    for _ in 0..2 {
        assert_eq!(world.notify(paid.clone()).await, 204);
    }
    let bought = packages(&world, account).await;
    assert_eq!(bought.len(), 1);
    assert_eq!(bought[0].order_id, order.order_id);
    assert_eq!(nanos(bought[0].left.clone()), 1_500_000_000);
    assert_eq!(world.balance(account).await, (0, 0));
    assert_eq!(booked(&world, account, "discount").await, -500_000_000);
    let lease = lease(&world, account, "custom", YUAN).await;
    assert!(lease.models.is_empty(), "it is for every model");
    world.assert_sound().await;
}

#[sqlx::test]
async fn a_grant_is_made_once_and_products_do_not_change(pool: PgPool) {
    let world = World::new(pool).await;
    publish(&world, PRODUCTS).await;
    let account = world.account();
    let operator: OperatorId = world.ids.id();
    let request = GrantPackageRequest {
        request_id: world.ids.id::<()>().to_string(),
        account_id: account.to_string(),
        product: "wide".to_owned(),
    };
    let mut made = Vec::new();
    for _ in 0..3 {
        let request = world.by_operator(operator, request.clone());
        let answer = world.api.grant_package(request).await.unwrap();
        made.push(answer.into_inner().package.unwrap().package_id);
    }
    assert!(made.iter().all(|id| *id == made[0]), "{made:?}");
    assert_eq!(packages(&world, account).await.len(), 1);
    let sold = grant(&world, account, "sold").await.unwrap_err();
    assert_eq!(sold.code(), Code::InvalidArgument);
    let unknown = grant(&world, account, "unheard-of").await.unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound);
    let listed = Request::new(ListPackageProductsRequest {});
    let listed = world.api.list_package_products(listed).await.unwrap();
    assert_eq!(listed.into_inner().products.len(), 3);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("packages.toml");
    let changed = PRODUCTS.replace("200000000", "200000001");
    for (products, why) in [
        (
            changed.as_str(),
            "package wide was published with other content",
        ),
        (
            "[[packages]]\nproduct = \"x\"\noffer = \"sold\"\ncredit_nanos = 1\ndays = 1",
            "package x: what is sold has a price, and nothing else has",
        ),
    ] {
        std::fs::write(&file, products).unwrap();
        let refused = world.app().publish_packages(&file).await.unwrap_err();
        assert_eq!(refused.to_string(), why);
    }
    let example = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/packages.toml"));
    world.app().publish_packages(example).await.unwrap();
}
