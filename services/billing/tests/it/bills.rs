use std::sync::atomic::Ordering;

use chrono::Duration;
use sqlx::PgPool;
use tonic::Request;
use wanwu_clock::Clock;
use wanwu_proto::billing::v1::{
    FetchProviderBillRequest, ListProviderBillsRequest, ListReconciliationCasesRequest,
    ProviderBill, ReconciliationCase, ReconciliationDifference,
    reconciliation_service_server::ReconciliationService,
};

use crate::world::{World, reason};

async fn bills(world: &World) -> Vec<ProviderBill> {
    let request = Request::new(ListProviderBillsRequest::default());
    let answer = world.api.list_provider_bills(request).await.unwrap();
    answer.into_inner().bills
}

async fn cases(world: &World) -> Vec<ReconciliationCase> {
    let request = Request::new(ListReconciliationCasesRequest::default());
    let answer = world.api.list_reconciliation_cases(request).await.unwrap();
    answer.into_inner().cases
}

/// Somebody pays by WeChat and somebody by Alipay.
async fn paid_at_both(world: &World) {
    world.customer(1234).await;
    let account = world.account();
    let (order, number) = world.order(account, 500).await;
    world.offer_at_alipay(account, &order).await;
    let notice = world.alipay.notice(&world.alipay.pay(&number));
    assert_eq!(world.notify_alipay(notice).await.0, 200);
}

/// The clock of the tests begins at noon in China: the next morning at ten.
fn next_morning(world: &World) {
    world.clock.advance(Duration::hours(22));
}

#[sqlx::test]
async fn each_days_bill_is_fetched_the_next_morning_and_compared_once(pool: PgPool) {
    let world = World::new(pool).await;
    paid_at_both(&world).await;
    world.wechat.write_bill();
    world.alipay.write_bill();
    world.clock.advance(Duration::hours(21));
    world.app().fetch_bills().await.unwrap();
    let today = "2026-11-23";
    assert!(
        bills(&world).await.iter().all(|bill| bill.day != today),
        "not before ten"
    );
    world.clock.advance(Duration::hours(1));
    world.app().fetch_bills().await.unwrap();
    let compared = bills(&world).await;
    for provider in ["wechat", "alipay"] {
        let of = |bill: &&ProviderBill| bill.day == today && bill.provider == provider;
        let bill = compared.iter().find(of).unwrap();
        assert!(bill.compare_time.is_some(), "{provider}");
        assert_eq!(
            (bill.lines, bill.agreed, bill.differences),
            (1, 1, 0),
            "{provider}"
        );
    }
    let downloads = world.wechat.downloads.load(Ordering::SeqCst);
    for _ in 0..3 {
        world.clock.advance(Duration::minutes(10));
        assert_eq!(world.app().fetch_bills().await.unwrap(), 0);
    }
    assert_eq!(
        world.wechat.downloads.load(Ordering::SeqCst),
        downloads,
        "once"
    );
    assert_eq!(cases(&world).await, []);
}

#[sqlx::test]
async fn each_difference_of_a_bill_has_a_case(pool: PgPool) {
    let world = World::new(pool).await;
    paid_at_both(&world).await;
    // Paid, and neither a notice nor a query told of it.
    let (_, number) = world.order(world.account(), 700).await;
    world.wechat.pay(&number);
    world.wechat.write_bill();
    world.alipay.trades.lock().clear();
    world.alipay.write_bill();
    next_morning(&world);
    world.app().fetch_bills().await.unwrap();
    let mut found: Vec<_> = cases(&world)
        .await
        .into_iter()
        .map(|case| {
            (
                case.provider.clone(),
                case.difference(),
                case.billed_fen,
                case.booked_fen,
            )
        })
        .collect();
    found.sort_by_key(|case| case.0.clone());
    assert_eq!(
        found,
        [
            (
                "alipay".to_owned(),
                ReconciliationDifference::NotBilled,
                0,
                500
            ),
            (
                "wechat".to_owned(),
                ReconciliationDifference::NotBooked,
                700,
                0
            ),
        ]
    );
}

#[sqlx::test]
async fn a_bill_that_is_late_is_asked_for_until_a_day_later_it_counts_as_empty(pool: PgPool) {
    let world = World::new(pool).await;
    world.customer(1234).await;
    next_morning(&world);
    for _ in 0..20 {
        world.app().fetch_bills().await.unwrap();
        world.clock.advance(Duration::hours(1));
    }
    let today = |bill: &ProviderBill| bill.day == "2026-11-23" && bill.provider == "wechat";
    let waiting = bills(&world).await.into_iter().find(today).unwrap();
    assert!(
        waiting.compare_time.is_none() && waiting.tries == 20,
        "{waiting:?}"
    );
    assert_eq!(cases(&world).await, []);
    world.clock.advance(Duration::hours(4));
    world.app().fetch_bills().await.unwrap();
    let found = cases(&world).await;
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].difference(), ReconciliationDifference::NotBilled);
}

#[sqlx::test]
async fn a_file_that_is_not_the_one_that_was_signed_for_is_not_compared(pool: PgPool) {
    let world = World::new(pool).await;
    paid_at_both(&world).await;
    world.wechat.write_bill();
    world.wechat.swaps_bill.store(true, Ordering::SeqCst);
    *world.alipay.bill.lock() = Some(b"no archive".to_vec());
    next_morning(&world);
    assert_eq!(world.app().fetch_bills().await.unwrap(), 0);
    let open = bills(&world).await;
    assert!(
        open.iter().all(|bill| bill.compare_time.is_none()),
        "{open:?}"
    );
    // Nothing is lost: the right ones are compared later.
    world.wechat.swaps_bill.store(false, Ordering::SeqCst);
    world.alipay.write_bill();
    world.clock.advance(Duration::hours(1));
    assert_eq!(world.app().fetch_bills().await.unwrap(), open.len());
    assert_eq!(cases(&world).await, []);
}

#[sqlx::test]
async fn an_operator_can_fetch_a_bill_again(pool: PgPool) {
    let world = World::new(pool).await;
    paid_at_both(&world).await;
    let fetch = async |provider: &str, day: &str| {
        let request = Request::new(FetchProviderBillRequest {
            provider: provider.to_owned(),
            day: day.to_owned(),
        });
        let answer = world.api.fetch_provider_bill(request).await;
        answer.map(|answer| answer.into_inner())
    };
    for (provider, day, why) in [
        ("wechat", "2026-11-23", "BILL_NOT_READY"),
        ("alipay", "2026-11-23", "BILL_NOT_READY"),
        ("paypal", "2026-11-23", "INVALID_ARGUMENT"),
        ("wechat", "2026-11-24", "INVALID_ARGUMENT"),
        ("wechat", "today", "INVALID_ARGUMENT"),
    ] {
        assert_eq!(
            reason(&fetch(provider, day).await.unwrap_err()),
            why,
            "{provider} {day}"
        );
    }
    world.wechat.write_bill();
    for _ in 0..2 {
        let found = fetch("wechat", "2026-11-23").await.unwrap();
        assert_eq!((found.agreed, found.differences, found.opened), (1, 0, 0));
    }
    assert_eq!(world.clock.now().to_rfc3339(), "2026-11-23T04:00:00+00:00");
}
