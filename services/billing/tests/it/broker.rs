use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use billing::events::SettleRecordedUsage;
use sqlx::PgPool;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use wanwu_events::{Consumers, Relay, publish};
use wanwu_proto::inference::v1::UsageRecorded;
use wanwu_testkit::{TestBroker, wait_for};

use crate::world::{World, YUAN};

const PATIENCE: Duration = Duration::from_secs(60);

/// Tells usage as the router does, in one transaction.
async fn tell(world: &World, usages: &[UsageRecorded]) {
    let mut tx = world.pool.begin().await.unwrap();
    for usage in usages {
        publish(&mut tx, &world.ids, usage).await.unwrap();
    }
    tx.commit().await.unwrap();
}

/// The relay of the router and the consumers of billing, until the world is dropped.
fn run(world: &World) -> (CancellationToken, JoinSet<()>) {
    let (broker, stop) = (TestBroker::new(), CancellationToken::new());
    let relay = Relay::new(world.pool.clone(), broker.config(), "inference-routing");
    let handler = SettleRecordedUsage(Arc::clone(world.app()));
    let clock = Arc::new(world.clock.clone());
    let consumers = Consumers::new(world.pool.clone(), broker.config(), "billing", clock)
        .on::<UsageRecorded, _>(handler);
    let mut tasks = JoinSet::new();
    tasks.spawn(relay.run(stop.clone()));
    tasks.spawn(consumers.run(stop.clone()));
    (stop, tasks)
}

async fn count(world: &World, table: &'static str) -> i64 {
    let sql = match table {
        "calls" => "select count(*) from calls",
        _ => "select count(*) from dead_letters",
    };
    sqlx::query_scalar(sql)
        .fetch_one(&world.pool)
        .await
        .unwrap()
}

#[sqlx::test]
async fn usage_from_the_broker_is_settled_once_and_what_is_wrong_is_kept(pool: PgPool) {
    let world = World::new(pool).await;
    let account = world.customer(1000).await;
    let lease = world.lease(account, world.epoch(), YUAN).await;
    let (good, mut wrong) = (world.usage(&lease, 5, 5), world.usage(&lease, 6, 6));
    wrong.amount_nanos += 1;
    // The same call by two events.
    tell(&world, &[good.clone(), good.clone(), wrong]).await;
    let (stop, mut tasks) = run(&world);
    wait_for("a bill and a dead letter", PATIENCE, || async {
        (
            count(&world, "calls").await,
            count(&world, "dead_letters").await,
        ) == (1, 1)
    })
    .await;
    assert!(world.close(&lease, 1, good.amount_nanos).await.unwrap());
    let rest = 10 * YUAN - good.amount_nanos;
    assert_eq!(world.balance(account).await, (rest, 0));
    let error: String = sqlx::query_scalar("select error from dead_letters")
        .fetch_one(&world.pool)
        .await
        .unwrap();
    assert_eq!(error, "the amount is not what the units cost");
    world.assert_sound().await;
    stop.cancel();
    while tasks.join_next().await.is_some() {}
}

#[sqlx::test]
async fn usage_of_many_customers_is_settled_in_good_time(pool: PgPool) {
    const CUSTOMERS: usize = 8;
    const CALLS: i64 = 1600;
    let world = World::new(pool).await;
    let mut leases = Vec::new();
    for _ in 0..CUSTOMERS {
        let account = world.customer(1000).await;
        leases.push(world.lease(account, world.epoch(), 10 * YUAN).await);
    }
    let usages: Vec<_> = (0..CALLS)
        .map(|n| world.usage(&leases[usize::try_from(n).unwrap() % CUSTOMERS], 10, n % 50))
        .collect();
    for part in usages.chunks(200) {
        tell(&world, part).await;
    }
    let start = Instant::now();
    let (stop, mut tasks) = run(&world);
    wait_for("every bill", PATIENCE, || async {
        count(&world, "calls").await == CALLS
    })
    .await;
    let rate = CALLS as f64 / start.elapsed().as_secs_f64();
    println!("settled usage events: {rate:.0} a second (goal 300)");
    for lease in &leases {
        let of = usages.iter().filter(|u| u.lease_id == lease.lease_id);
        let (calls, sum) = of.fold((0, 0), |(n, sum), u| (n + 1, sum + u.amount_nanos));
        assert!(world.close(lease, calls, sum).await.unwrap());
    }
    world.assert_sound().await;
    stop.cancel();
    while tasks.join_next().await.is_some() {}
}
