//! What calls used and cost, by day, model, app and key.

use chrono::Duration;
use sqlx::PgPool;
use tonic::Code;
use wanwu_ids::AccountId;
use wanwu_proto::billing::v1::{
    ListUsageRequest, Usage, UsageDimension, usage_service_server::UsageService,
};

use crate::world::{PRICES, World, YUAN, nanos};

fn days(first: &str, last: &str) -> ListUsageRequest {
    ListUsageRequest {
        first_day: first.to_owned(),
        last_day: last.to_owned(),
        ..ListUsageRequest::default()
    }
}

async fn usage(world: &World, account: AccountId, request: &ListUsageRequest) -> Vec<Usage> {
    let (mut usage, mut request) = (Vec::new(), request.clone());
    loop {
        let page = world.api.list_usage(world.by(account, request.clone()));
        let page = page.await.unwrap().into_inner();
        usage.extend(page.usage);
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            return usage;
        }
    }
}

#[sqlx::test]
async fn usage_is_what_the_bills_sum_up_to_however_it_is_grouped(pool: PgPool) {
    let world = World::new(pool).await;
    let account = world.customer(1000).await;
    let lease = world.lease(account, world.epoch(), 5 * YUAN).await;
    let apps = [
        world.ids.id::<()>().to_string(),
        world.ids.id::<()>().to_string(),
    ];
    let mut bills = Vec::new();
    for n in 1..=12 {
        let mut call = world.usage(&lease, n, 10 * n);
        call.app_id.clone_from(&apps[usize::from(n % 3 == 0)]);
        world.settle(&call).await.unwrap();
        // Told twice, counted once.
        world.settle(&call).await.unwrap();
        bills.push(call);
        world.clock.advance(Duration::hours(6));
    }
    let all = days("2026-11-23", "2026-11-30");
    let sum: i64 = bills.iter().map(|bill| bill.amount_nanos).sum();
    let one = usage(&world, account, &all).await;
    assert_eq!(one.len(), 1);
    assert_eq!(nanos(one[0].amount.clone()), sum);
    assert_eq!(
        (one[0].calls, one[0].input_tokens, one[0].output_tokens),
        (12, 78, 780)
    );
    assert_eq!(sum, 78 * PRICES.0 + 780 * PRICES.1);
    assert_eq!((one[0].day.as_str(), one[0].app_id.as_str()), ("", ""));

    let by = |dimensions: &[UsageDimension]| ListUsageRequest {
        group_by: dimensions.iter().map(|one| (*one).into()).collect(),
        page_size: 2,
        ..all.clone()
    };
    // It is noon: two calls, then four a day.
    let by_day = usage(&world, account, &by(&[UsageDimension::Day])).await;
    let calls: Vec<_> = by_day
        .iter()
        .map(|day| (day.day.as_str(), day.calls))
        .collect();
    let expected = [
        ("2026-11-23", 2),
        ("2026-11-24", 4),
        ("2026-11-25", 4),
        ("2026-11-26", 2),
    ];
    assert_eq!(calls, expected);
    let by_app = usage(&world, account, &by(&[UsageDimension::App])).await;
    let mut calls: Vec<_> = by_app.iter().map(|app| app.calls).collect();
    calls.sort_unstable();
    assert_eq!(calls, [4, 8]);
    for dimensions in [
        &[UsageDimension::Key][..],
        &[UsageDimension::Model],
        &[
            UsageDimension::Day,
            UsageDimension::Model,
            UsageDimension::App,
            UsageDimension::Key,
        ],
    ] {
        let groups = usage(&world, account, &by(dimensions)).await;
        let total: i64 = groups.iter().map(|group| nanos(group.amount.clone())).sum();
        assert_eq!(total, sum, "{dimensions:?}");
    }
    let of_key = ListUsageRequest {
        key_id: bills[0].key_id.clone(),
        model: "scripted".to_owned(),
        ..all.clone()
    };
    assert_eq!(usage(&world, account, &of_key).await[0].calls, 1);
    assert_eq!(usage(&world, world.account(), &all).await, []);
    assert_eq!(
        usage(&world, account, &days("2026-12-01", "2026-12-31")).await,
        []
    );
}

#[sqlx::test]
async fn questions_without_bounds_are_refused(pool: PgPool) {
    let world = World::new(pool).await;
    for request in [
        days("2026-11-24", "2026-11-23"),
        days("2026-01-01", "2027-01-02"),
        days("2026-1-1", "2026-01-02"),
        days("", ""),
        ListUsageRequest {
            group_by: vec![0],
            ..days("2026-11-01", "2026-11-02")
        },
        ListUsageRequest {
            app_id: "x".to_owned(),
            ..days("2026-11-01", "2026-11-02")
        },
    ] {
        let refused = world.api.list_usage(world.by(world.account(), request));
        assert_eq!(refused.await.unwrap_err().code(), Code::InvalidArgument);
    }
    let year = days("2024-01-01", "2024-12-31");
    assert_eq!(usage(&world, world.account(), &year).await, []);
}
