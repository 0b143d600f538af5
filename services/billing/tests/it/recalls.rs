use std::{sync::Arc, time::Duration};

use futures::StreamExt;
use sqlx::PgPool;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tonic::Request;
use wanwu_proto::billing::v1::{Lease, WatchRecallsRequest, lease_service_server::LeaseService};

use crate::world::{World, YUAN, reason};

/// An idle replica that gives its lease back when it is told to.
async fn give_back_when_told(world: &World, lease: Lease) {
    let request = WatchRecallsRequest {
        epoch_id: lease.epoch_id.clone(),
    };
    let told = world.api.watch_recalls(Request::new(request)).await;
    let mut told = told.unwrap().into_inner();
    while let Some(Ok(item)) = told.next().await {
        if item.account_id == lease.account_id {
            assert!(world.close(&lease, 0, 0).await.unwrap());
        }
    }
}

#[sqlx::test]
async fn idle_credit_of_another_epoch_comes_back_within_two_hundred_milliseconds(pool: PgPool) {
    let world = World::new(pool).await;
    let account = world.customer(1000).await;
    let idle = world.lease(account, world.epoch(), 10 * YUAN).await;
    let request = world.lease_request(account, world.epoch(), YUAN, 10 * YUAN);
    let start = Instant::now();
    tokio::select! {
        () = give_back_when_told(&world, idle) => panic!("the watch ended"),
        lease = world.acquire(&request) => assert_eq!(lease.unwrap().amount_nanos, 10 * YUAN),
    }
    assert!(
        start.elapsed() < Duration::from_millis(300),
        "{:?}",
        start.elapsed()
    );
    world.assert_sound().await;
}

#[sqlx::test]
async fn a_recall_reaches_those_who_watch_another_replica_of_billing(pool: PgPool) {
    let world = World::new(pool).await;
    let account = world.customer(1000).await;
    let idle = world.lease(account, world.epoch(), 10 * YUAN).await;
    let request = world.lease_request(account, world.epoch(), YUAN, 10 * YUAN);
    // The idle one watches here; credit is asked for there.
    let there = world.replica();
    let stop = CancellationToken::new();
    let passing = Arc::clone(world.app()).clone();
    let passing = tokio::spawn({
        let stop = stop.clone();
        async move { passing.pass_recalls_on(stop).await }
    });
    tokio::select! {
        () = give_back_when_told(&world, idle) => panic!("the watch ended"),
        answer = there.acquire_lease(Request::new(request)) => {
            let lease = answer.unwrap().into_inner().lease.unwrap();
            assert_eq!(lease.amount_nanos, 10 * YUAN);
        }
    }
    stop.cancel();
    passing.await.unwrap();
}

#[sqlx::test]
async fn credit_that_does_not_come_back_is_waited_for_no_longer(pool: PgPool) {
    let world = World::new(pool).await;
    let account = world.customer(1000).await;
    world.lease(account, world.epoch(), 10 * YUAN).await;
    let request = world.lease_request(account, world.epoch(), 1, 1);
    let start = Instant::now();
    let refused = world.acquire(&request).await.unwrap_err();
    assert_eq!(reason(&refused), "INSUFFICIENT_BALANCE");
    let waited = start.elapsed();
    assert!(
        waited >= Duration::from_millis(200) && waited < Duration::from_millis(700),
        "{waited:?}"
    );
    // Where nothing is lent there is nothing to wait for.
    let nobody = world.lease_request(world.account(), world.epoch(), 1, 1);
    let start = Instant::now();
    world.acquire(&nobody).await.unwrap_err();
    assert!(start.elapsed() < Duration::from_millis(150));
}

#[sqlx::test]
async fn an_exhausted_balance_is_told_once_a_minute(pool: PgPool) {
    let world = World::new(pool).await;
    let account = world.account();
    let told = || {
        let count = "select count(*) from outbox where type = 'wanwu.billing.v1.BalanceExhausted'";
        sqlx::query_scalar::<_, i64>(count).fetch_one(&world.pool)
    };
    for (seconds, expected) in [(0, 1), (1, 1), (58, 1), (2, 2), (30, 2)] {
        world.clock.advance(chrono::Duration::seconds(seconds));
        let request = world.lease_request(account, world.epoch(), 1, 1);
        world.acquire(&request).await.unwrap_err();
        assert_eq!(told().await.unwrap(), expected, "after {seconds} s more");
    }
}

#[sqlx::test]
async fn a_watch_shows_that_it_lives(pool: PgPool) {
    let world = World::new(pool).await;
    let epoch_id = world.epoch().to_string();
    let told = world
        .api
        .watch_recalls(Request::new(WatchRecallsRequest { epoch_id }));
    let mut told = told.await.unwrap().into_inner();
    for _ in 0..3 {
        let beat = timeout(Duration::from_millis(400), told.next()).await;
        assert_eq!(beat.unwrap().unwrap().unwrap().account_id, "");
    }
}
