use std::time::{Duration, Instant};

use futures::future::join_all;
use sqlx::PgPool;
use tonic::Code;
use wanwu_proto::billing::v1::AcquireLeaseRequest;

use crate::world::{PRICES, World, YUAN, reason};

#[sqlx::test]
async fn a_lease_is_as_much_as_is_wanted_and_there(pool: PgPool) {
    let world = World::new(pool).await;
    let account = world.customer(1000).await;
    let epoch = world.epoch();
    for (min, want, granted) in [
        (1, 3 * YUAN, 3 * YUAN),
        (2 * YUAN, YUAN, 2 * YUAN),
        (YUAN, 100 * YUAN, 5 * YUAN),
    ] {
        let request = world.lease_request(account, epoch, min, want);
        let lease = world.acquire(&request).await.unwrap();
        assert_eq!(lease.amount_nanos, granted);
        assert_eq!(lease.account_id, account.to_string());
    }
    assert_eq!(world.balance(account).await, (0, 10 * YUAN));
    let request = world.lease_request(account, epoch, 1, 1);
    let refused = world.acquire(&request).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert_eq!(reason(&refused), "INSUFFICIENT_BALANCE");
    world.assert_sound().await;
}

#[sqlx::test]
async fn a_lease_that_no_call_waits_for_leaves_as_much_as_it_takes(pool: PgPool) {
    let world = World::new(pool).await;
    let account = world.customer(1000).await;
    let ahead = |min, want| AcquireLeaseRequest {
        ahead: true,
        ..world.lease_request(account, world.epoch(), min, want)
    };
    let lease = world.acquire(&ahead(1, 100 * YUAN)).await.unwrap();
    assert_eq!(lease.amount_nanos, 5 * YUAN);
    let lease = world.acquire(&ahead(1, YUAN)).await.unwrap();
    assert_eq!(lease.amount_nanos, YUAN);
    // It is refused at once: no idle credit is waited for, and nobody hears of an empty balance.
    let begin = Instant::now();
    let refused = world.acquire(&ahead(3 * YUAN, 3 * YUAN)).await.unwrap_err();
    assert_eq!(reason(&refused), "INSUFFICIENT_BALANCE");
    assert!(begin.elapsed() < Duration::from_millis(150));
    let told = "select count(*) from outbox where type = 'wanwu.billing.v1.BalanceExhausted'";
    let told: i64 = sqlx::query_scalar(told)
        .fetch_one(&world.pool)
        .await
        .unwrap();
    assert_eq!(told, 0);
    // A call that waits gets it.
    let request = world.lease_request(account, world.epoch(), 3 * YUAN, 3 * YUAN);
    assert_eq!(
        world.acquire(&request).await.unwrap().amount_nanos,
        3 * YUAN
    );
    world.assert_sound().await;
}

#[sqlx::test]
async fn two_hundred_at_once_never_lend_more_than_there_is(pool: PgPool) {
    let world = World::new(pool).await;
    let account = world.customer(1000).await;
    let replica = world.replica();
    let requests: Vec<_> = (0..200)
        .map(|n| world.lease_request(account, world.epoch(), YUAN / 10 + n, YUAN / 10 + n))
        .collect();
    let all = requests.iter().enumerate().map(|(n, request)| {
        use wanwu_proto::billing::v1::lease_service_server::LeaseService;
        let api = if n % 2 == 0 { &world.api } else { &replica };
        api.acquire_lease(tonic::Request::new(request.clone()))
    });
    let answers = join_all(all).await;
    let granted: Vec<_> = answers
        .into_iter()
        .filter_map(|answer| match answer {
            Ok(answer) => Some(answer.into_inner().lease.unwrap().amount_nanos),
            Err(refused) => {
                assert_eq!(reason(&refused), "INSUFFICIENT_BALANCE");
                None
            }
        })
        .collect();
    let sum: i64 = granted.iter().sum();
    assert!(sum <= 10 * YUAN && granted.len() >= 99, "{}", granted.len());
    assert_eq!(world.balance(account).await, (10 * YUAN - sum, sum));
    world.assert_sound().await;
}

#[sqlx::test]
async fn the_same_lease_asked_for_twenty_times_at_once_is_one(pool: PgPool) {
    let world = World::new(pool).await;
    let account = world.customer(1000).await;
    let request = world.lease_request(account, world.epoch(), YUAN, YUAN);
    let all = join_all((0..20).map(|_| world.acquire(&request))).await;
    for lease in all {
        assert_eq!(lease.unwrap().lease_id, request.lease_id);
    }
    assert_eq!(world.balance(account).await, (9 * YUAN, YUAN));
    // Another's lease of that name is not told of.
    for other in [
        AcquireLeaseRequest {
            account_id: world.customer(1000).await.to_string(),
            ..request.clone()
        },
        AcquireLeaseRequest {
            epoch_id: world.epoch().to_string(),
            ..request.clone()
        },
    ] {
        let refused = world.acquire(&other).await.unwrap_err();
        assert_eq!(refused.code(), Code::NotFound);
    }
}

#[sqlx::test]
async fn a_lease_that_was_closed_is_not_granted_again(pool: PgPool) {
    let world = World::new(pool).await;
    let account = world.customer(1000).await;
    let request = world.lease_request(account, world.epoch(), YUAN, YUAN);
    let lease = world.acquire(&request).await.unwrap();
    assert!(world.close(&lease, 0, 0).await.unwrap());
    let refused = world.acquire(&request).await.unwrap_err();
    assert_eq!(reason(&refused), "LEASE_MISMATCH");
    assert_eq!(world.balance(account).await, (10 * YUAN, 0));
}

#[sqlx::test]
async fn closing_again_is_fine_with_the_same_numbers_only(pool: PgPool) {
    let world = World::new(pool).await;
    let account = world.customer(1000).await;
    let lease = world.lease(account, world.epoch(), YUAN).await;
    assert!(!world.close(&lease, 2, 5_000).await.unwrap());
    assert!(!world.close(&lease, 2, 5_000).await.unwrap());
    for (calls, sum) in [(1, 5_000), (2, 4_999), (0, 0)] {
        let refused = world.close(&lease, calls, sum).await.unwrap_err();
        assert_eq!(reason(&refused), "LEASE_MISMATCH");
    }
    let mut other = lease.clone();
    other.epoch_id = world.epoch().to_string();
    let refused = world.close(&other, 2, 5_000).await.unwrap_err();
    assert_eq!(refused.code(), Code::NotFound);
    for (calls, sum) in [(-1, 0), (0, -1)] {
        let refused = world.close(&lease, calls, sum).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument);
    }
    let fresh = world.lease(account, world.epoch(), YUAN).await;
    let refused = world.close(&fresh, 1, YUAN + 1).await.unwrap_err();
    assert_eq!(reason(&refused), "LEASE_MISMATCH", "more than was lent");
}

/// A small generator: the same seed gives the same order.
fn shuffle<T>(seed: u64, items: &mut [T]) {
    let mut state = seed
        .wrapping_mul(2_862_933_555_777_941_757)
        .wrapping_add(3_037_000_493);
    for last in (1..items.len()).rev() {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        let other = usize::try_from(state >> 33).unwrap() % (last + 1);
        items.swap(last, other);
    }
}

#[sqlx::test]
async fn in_whatever_order_usage_and_close_come_the_rest_goes_back_once(pool: PgPool) {
    let world = World::new(pool).await;
    let account = world.customer(100_000).await;
    let mut spent = 0;
    for seed in 0..25 {
        let lease = world.lease(account, world.epoch(), YUAN).await;
        let usages: Vec<_> = (0..4)
            .map(|n| world.usage(&lease, n * 7, n * n + i64::try_from(seed % 3).unwrap()))
            .collect();
        let sum = usages.iter().map(|usage| usage.amount_nanos).sum();
        // Each usage comes twice, the close three times.
        let mut steps: Vec<_> = usages.iter().chain(&usages).map(Some).collect();
        steps.extend([None; 3]);
        shuffle(seed, &mut steps);
        for step in steps {
            match step {
                Some(usage) => world.settle(usage).await.unwrap(),
                None => drop(world.close(&lease, 4, sum).await.unwrap()),
            }
        }
        spent += sum;
        assert!(world.close(&lease, 4, sum).await.unwrap(), "seed {seed}");
        assert_eq!(
            world.balance(account).await,
            (1000 * YUAN - spent, 0),
            "seed {seed}"
        );
    }
    world.assert_sound().await;
}

#[sqlx::test]
async fn nobody_waits_for_each_other_in_a_circle(pool: PgPool) {
    let world = World::new(pool).await;
    let account = world.customer(100_000).await;
    let one = async |n: i64| {
        let lease = world.lease(account, world.epoch(), YUAN).await;
        let usage = world.usage(&lease, n, n);
        // The last usage frees what the next grant takes: both move the same two accounts.
        let (closed, settled) = tokio::join!(
            world.close(&lease, 1, usage.amount_nanos),
            world.settle(&usage)
        );
        closed.unwrap();
        settled.unwrap();
        usage.amount_nanos
    };
    let start = Instant::now();
    let mut spent = 0;
    for round in 0..5 {
        let all = join_all((0..40).map(|n| one(n + round)));
        spent += all.await.into_iter().sum::<i64>();
    }
    // One wait in a circle alone takes a second to be found.
    assert!(start.elapsed() < Duration::from_secs(60));
    let deadlocks: i64 = sqlx::query_scalar(
        "select deadlocks from pg_stat_database where datname = current_database()",
    )
    .fetch_one(&world.pool)
    .await
    .unwrap();
    assert_eq!(deadlocks, 0);
    assert_eq!(world.balance(account).await, (1000 * YUAN - spent, 0));
    assert!(spent > PRICES.0);
    world.assert_sound().await;
}

#[sqlx::test]
async fn what_no_call_holds_of_a_lease_comes_back_while_its_calls_go_on(pool: PgPool) {
    let world = World::new(pool).await;
    let account = world.customer(1000).await;
    let lease = world.lease(account, world.epoch(), 10 * YUAN).await;
    let usage = world.usage(&lease, 10, 20);
    world.settle(&usage).await.unwrap();
    let spent = usage.amount_nanos;
    for (worth, leased) in [(4, 4), (4, 4), (6, 4), (3, 3)] {
        world.reduce(&lease, worth * YUAN).await.unwrap();
        let left = (10 - leased) * YUAN;
        assert_eq!(world.balance(account).await, (left, leased * YUAN - spent));
    }
    let error = world.reduce(&lease, spent - 1).await.unwrap_err();
    assert_eq!(reason(&error), "LEASE_MISMATCH");
    let mut others = lease.clone();
    others.epoch_id = world.epoch().to_string();
    let error = world.reduce(&others, YUAN).await.unwrap_err();
    assert_eq!(reason(&error), "NOT_FOUND");
    // More than it is worth now cannot be spent.
    let late = world.usage(&lease, 0, 3 * YUAN / PRICES.1);
    assert!(world.settle(&late).await.is_err());
    assert!(world.close(&lease, 1, spent).await.unwrap());
    world.reduce(&lease, YUAN).await.unwrap();
    assert_eq!(world.balance(account).await, (10 * YUAN - spent, 0));
    world.assert_sound().await;
}
