use futures::future::join_all;
use sqlx::PgPool;
use wanwu_events::HandlerError;
use wanwu_proto::{billing::v1::Lease, inference::v1::UsageRecorded};

use crate::world::{PRICES, World, YUAN};

/// Why the usage is refused for good.
async fn refused(world: &World, usage: &UsageRecorded) -> String {
    match world.settle(usage).await {
        Err(HandlerError::Reject(why)) => why.to_string(),
        other => panic!("{other:?}"),
    }
}

async fn lend(world: &World) -> Lease {
    let account = world.customer(1000).await;
    world.lease(account, world.epoch(), YUAN).await
}

#[sqlx::test]
async fn a_call_that_is_told_by_several_events_is_charged_once(pool: PgPool) {
    let world = World::new(pool).await;
    let lease = lend(&world).await;
    let account = lease.account_id.parse().unwrap();
    let usage = world.usage(&lease, 10, 20);
    let all = join_all((0..20).map(|_| world.settle(&usage))).await;
    assert!(all.iter().all(Result::is_ok), "{all:?}");
    let cost = 10 * PRICES.0 + 20 * PRICES.1;
    assert_eq!(world.balance(account).await, (9 * YUAN, YUAN - cost));
    assert!(world.close(&lease, 1, cost).await.unwrap());
    // Late, after the lease is freed.
    world.settle(&usage).await.unwrap();
    assert_eq!(world.balance(account).await, (10 * YUAN - cost, 0));
    world.assert_sound().await;
}

#[sqlx::test]
async fn a_call_that_used_nothing_is_a_call(pool: PgPool) {
    let world = World::new(pool).await;
    let lease = lend(&world).await;
    world.settle(&world.usage(&lease, 0, 0)).await.unwrap();
    assert!(world.close(&lease, 1, 0).await.unwrap());
    let account = lease.account_id.parse().unwrap();
    assert_eq!(world.balance(account).await, (10 * YUAN, 0));
    world.assert_sound().await;
}

#[sqlx::test]
async fn usage_that_cannot_be_true_books_nothing(pool: PgPool) {
    let world = World::new(pool).await;
    let (lease, other) = (lend(&world).await, lend(&world).await);
    let account = lease.account_id.parse().unwrap();
    let good = world.usage(&lease, 10, 20);
    let with = |change: &dyn Fn(&mut UsageRecorded)| {
        let mut usage = good.clone();
        change(&mut usage);
        usage
    };
    let unknown = world.account().to_string();
    let cases = [
        (
            with(&|u| u.lease_id.clone_from(&unknown)),
            "there is no such lease",
        ),
        (
            with(&|u| u.lease_id.clone_from(&other.lease_id)),
            "the lease is another account's",
        ),
        (
            with(&|u| u.price_version = 2),
            "the price list is not the lease's",
        ),
        (
            with(&|u| u.amount_nanos -= 1),
            "the amount is not what the units cost",
        ),
        (
            with(&|u| u.model = "unheard-of".to_owned()),
            "the amount is not what the units cost",
        ),
        (
            world.usage(&lease, 2_000_000, 0),
            "the lease does not allow it",
        ),
        (
            with(&|u| u.output_tokens = -20),
            "a field of the usage is not valid",
        ),
        (
            with(&|u| u.call_id = "call".to_owned()),
            "a field of the usage is not valid",
        ),
        (
            with(&|u| u.usage_source = "guess".to_owned()),
            "a field of the usage is not valid",
        ),
    ];
    for (usage, why) in cases {
        assert_eq!(refused(&world, &usage).await, why);
        assert_eq!(world.balance(account).await, (9 * YUAN, YUAN), "{why}");
    }
    world.settle(&good).await.unwrap();
    // The same call with other numbers.
    let mut changed = world.usage(&lease, 11, 20);
    changed.call_id.clone_from(&good.call_id);
    let why = refused(&world, &changed).await;
    assert_eq!(why, "the call was settled with other numbers");
    world.assert_sound().await;
}

#[sqlx::test]
async fn more_calls_than_the_close_stated_are_refused(pool: PgPool) {
    let world = World::new(pool).await;
    let lease = lend(&world).await;
    let usage = world.usage(&lease, 1, 1);
    assert!(!world.close(&lease, 1, usage.amount_nanos).await.unwrap());
    world.settle(&usage).await.unwrap();
    let one_more = world.usage(&lease, 0, 0);
    assert_eq!(
        refused(&world, &one_more).await,
        "the lease does not allow it"
    );
}

#[sqlx::test]
async fn calls_that_are_settled_together_are_settled_as_one_by_one(pool: PgPool) {
    let world = World::new(pool).await;
    let leases = [lend(&world).await, lend(&world).await, lend(&world).await];
    let of = |lease: &Lease| {
        (0..20)
            .map(|n| world.usage(lease, n, 2 * n))
            .collect::<Vec<_>>()
    };
    let each: Vec<_> = leases.iter().map(of).collect();
    let sum = |usages: &[UsageRecorded]| usages.iter().map(|usage| usage.amount_nanos).sum();
    let spent: Vec<i64> = each.iter().map(|usages| sum(usages)).collect();
    // Of one lease a part is settled, another is closed before its calls come.
    world.settle_all(&each[0][..5]).await.unwrap();
    assert!(!world.close(&leases[1], 20, spent[1]).await.unwrap());
    let mut all = each.concat();
    // Told twice, in one part and in another.
    all.extend(each[0][..7].to_vec());
    let parts = all.chunks(23);
    let settled = join_all(parts.map(|part| world.settle_all(part))).await;
    assert!(settled.iter().all(Result::is_ok), "{settled:?}");
    for (place, lease) in leases.iter().enumerate() {
        assert!(place == 1 || world.close(lease, 20, spent[place]).await.unwrap());
        let account = lease.account_id.parse().unwrap();
        assert_eq!(world.balance(account).await, (10 * YUAN - spent[place], 0));
    }
    world.assert_sound().await;
}

#[sqlx::test]
async fn one_call_that_cannot_be_true_refuses_all_that_came_with_it(pool: PgPool) {
    let world = World::new(pool).await;
    let lease = lend(&world).await;
    let account = lease.account_id.parse().unwrap();
    let good = world.usage(&lease, 10, 20);
    let mut other = good.clone();
    other.input_tokens += 1;
    other.amount_nanos += PRICES.0;
    let too_much = world.usage(&lease, 2_000_000, 0);
    for (wrong, why) in [
        (other, "the call was settled with other numbers"),
        (too_much, "the lease does not allow it"),
    ] {
        match world.settle_all(&[good.clone(), wrong]).await {
            Err(HandlerError::Reject(refused)) => assert_eq!(refused.to_string(), why),
            other => panic!("{other:?}"),
        }
        assert_eq!(world.balance(account).await, (9 * YUAN, YUAN), "{why}");
    }
    world.settle_all(&[good.clone(), good]).await.unwrap();
    world.assert_sound().await;
}
