use sqlx::PgPool;
use tonic::Request;
use wanwu_ids::EpochId;
use wanwu_proto::billing::v1::{FenceEpochRequest, Lease, lease_service_server::LeaseService};

use crate::world::{World, YUAN, reason};

async fn fence(world: &World, epoch: EpochId) -> Vec<Lease> {
    let epoch_id = epoch.to_string();
    let request = Request::new(FenceEpochRequest { epoch_id });
    let answer = world.api.fence_epoch(request).await.unwrap();
    answer.into_inner().open_leases
}

#[sqlx::test]
async fn a_fenced_epoch_gets_nothing_also_not_what_it_had(pool: PgPool) {
    let world = World::new(pool).await;
    let account = world.customer(1000).await;
    let (epoch, other) = (world.epoch(), world.epoch());
    let had = world.lease_request(account, epoch, YUAN, YUAN);
    let lease = world.acquire(&had).await.unwrap();
    let closed = world.lease(account, epoch, YUAN).await;
    world.close(&closed, 0, 0).await.unwrap();
    let theirs = world.lease(account, other, YUAN).await;

    assert_eq!(fence(&world, epoch).await, std::slice::from_ref(&lease));
    for request in [&had, &world.lease_request(account, epoch, 1, 1)] {
        let refused = world.acquire(request).await.unwrap_err();
        assert_eq!(reason(&refused), "EPOCH_FENCED");
    }
    // Another replica gives back what it left.
    assert!(world.close(&lease, 0, 0).await.unwrap());
    assert_eq!(fence(&world, epoch).await, []);
    assert_eq!(fence(&world, other).await, [theirs]);
    assert_eq!(world.balance(account).await, (9 * YUAN, YUAN));
}

#[sqlx::test]
async fn no_lease_slips_past_a_fence(pool: PgPool) {
    let world = World::new(pool).await;
    let account = world.customer(100_000).await;
    for round in 0..20 {
        let epoch = world.epoch();
        let requests: Vec<_> = (0..8)
            .map(|_| world.lease_request(account, epoch, YUAN, YUAN))
            .collect();
        let acquire = futures::future::join_all(requests.iter().map(|r| world.acquire(r)));
        let fenced = async {
            tokio::time::sleep(std::time::Duration::from_micros(500 * round)).await;
            fence(&world, epoch).await
        };
        let (granted, open) = tokio::join!(acquire, fenced);
        let mut granted: Vec<_> = granted
            .into_iter()
            .filter_map(|answer| match answer {
                Ok(lease) => Some(lease.lease_id),
                Err(refused) => {
                    assert_eq!(reason(&refused), "EPOCH_FENCED");
                    None
                }
            })
            .collect();
        let mut open: Vec<_> = open.into_iter().map(|lease| lease.lease_id).collect();
        granted.sort();
        open.sort();
        assert_eq!(granted, open, "round {round}: the fence tells of each");
    }
}
