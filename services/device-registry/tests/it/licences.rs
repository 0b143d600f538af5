use std::time::{Duration, Instant};

use futures::StreamExt;
use sqlx::PgPool;
use tonic::{Code, Request, Status};
use wanwu_clock::Clock;
use wanwu_ids::AccountId;
use wanwu_proto::device::v1::{
    DeviceIdentifierKind::Oaid, GrantLicenceRequest, RevokeLicenceRequest, SetDemandRequest,
    WatchDeviceGatesRequest, device_gate_service_server::DeviceGateService,
    licence_service_server::LicenceService,
};

use crate::world::{OAID, World, reason};

async fn grant(world: &World, account: AccountId, device_id: &str) -> Result<(), Status> {
    let request = GrantLicenceRequest {
        device_id: device_id.to_owned(),
        capability: "chat".to_owned(),
        expire_time: None,
    };
    let granted = world.api.grant_licence(world.by(account, request)).await;
    granted.map(drop)
}

async fn revoke(world: &World, account: AccountId, device_id: &str) -> Result<(), Status> {
    let request = RevokeLicenceRequest {
        device_id: device_id.to_owned(),
        capability: "chat".to_owned(),
    };
    let revoked = world.api.revoke_licence(world.by(account, request)).await;
    revoked.map(drop)
}

async fn demand(
    world: &World,
    account: AccountId,
    app_id: &str,
    capability: &str,
) -> Result<(), Status> {
    let request = SetDemandRequest {
        app_id: app_id.to_owned(),
        capability: capability.to_owned(),
        demanded: true,
    };
    let set = world.api.set_demand(world.by(account, request)).await;
    set.map(drop)
}

#[sqlx::test]
async fn demand_licence_and_its_end_are_told_with_rising_versions(pool: PgPool) {
    let world = World::new(pool).await;
    let (account, app) = world.owned_app();
    let device = world.register(app, Oaid, OAID).await.unwrap().device_id;
    let app_id = app.to_string();
    assert!(world.gate(&app_id).await.demanded_capabilities.is_empty());
    demand(&world, account, &app_id, "chat").await.unwrap();
    demand(&world, account, &app_id, "chat").await.unwrap();
    assert_eq!(world.gate(&app_id).await.demanded_capabilities, ["chat"]);

    let bare = world.gate(&device).await;
    assert!(bare.licences.is_empty());
    assert_eq!(bare.app_id, app_id);
    grant(&world, account, &device).await.unwrap();
    let licensed = world.gate(&device).await;
    assert_eq!(licensed.licences[0].capability, "chat");
    assert!(licensed.version > bare.version);

    let watch = Request::new(WatchDeviceGatesRequest {});
    let watch = world.api.watch_device_gates(watch).await.unwrap();
    let mut watch = watch.into_inner();
    let start = Instant::now();
    revoke(&world, account, &device).await.unwrap();
    let told = async {
        while let Some(item) = watch.next().await {
            let gate = item.unwrap().gate;
            let ended = |gate: &wanwu_proto::device::v1::DeviceGate| {
                gate.gate_id == device
                    && gate.licences.is_empty()
                    && gate.version > licensed.version
            };
            if gate.as_ref().is_some_and(ended) {
                return;
            }
        }
        panic!("the watch ended");
    };
    tokio::time::timeout(Duration::from_secs(10), told)
        .await
        .unwrap();
    assert!(
        start.elapsed() < Duration::from_secs(1),
        "{:?}",
        start.elapsed()
    );
    let told: i64 = sqlx::query_scalar(
        "select count(*) from outbox where type = 'wanwu.device.v1.LicenceChanged'",
    )
    .fetch_one(&world.pool)
    .await
    .unwrap();
    assert_eq!(told, 2);
}

#[sqlx::test]
async fn a_licence_has_an_end_that_is_to_come(pool: PgPool) {
    let world = World::new(pool).await;
    let (account, app) = world.owned_app();
    let device = world.register(app, Oaid, OAID).await.unwrap().device_id;
    let until = |seconds: i64| GrantLicenceRequest {
        device_id: device.clone(),
        capability: "chat".to_owned(),
        expire_time: Some(prost_types::Timestamp {
            seconds: world.clock.now().timestamp() + seconds,
            nanos: 0,
        }),
    };
    let past = world.api.grant_licence(world.by(account, until(0))).await;
    assert_eq!(reason(&past.unwrap_err()), "INVALID_ARGUMENT");
    let request = until(60);
    let end = request.expire_time;
    world
        .api
        .grant_licence(world.by(account, request))
        .await
        .unwrap();
    // Whoever holds the gate sees the end.
    assert_eq!(world.gate(&device).await.licences[0].expire_time, end);
}

#[sqlx::test]
async fn what_belongs_to_another_is_not_there(pool: PgPool) {
    let world = World::new(pool).await;
    let (owner, app) = world.owned_app();
    let (other, _) = world.owned_app();
    let device = world.register(app, Oaid, OAID).await.unwrap().device_id;
    grant(&world, owner, &device).await.unwrap();
    let nowhere = world.ids.id::<()>().to_string();
    for (account, device) in [(other, &device), (owner, &nowhere)] {
        let granted = grant(&world, account, device).await.unwrap_err();
        let revoked = revoke(&world, account, device).await.unwrap_err();
        assert_eq!(
            (granted.code(), revoked.code()),
            (Code::NotFound, Code::NotFound)
        );
    }
    for (account, app_id) in [(other, app.to_string()), (owner, nowhere)] {
        let refused = demand(&world, account, &app_id, "chat").await.unwrap_err();
        assert_eq!(refused.code(), Code::NotFound);
    }
    assert_eq!(
        world.gate(&device).await.licences.len(),
        1,
        "nothing changed"
    );
    revoke(&world, owner, &device).await.unwrap();
    let gone = revoke(&world, owner, &device).await.unwrap_err();
    assert_eq!(gone.code(), Code::NotFound);
    let unknown = demand(&world, owner, &app.to_string(), "speech")
        .await
        .unwrap_err();
    assert_eq!(reason(&unknown), "INVALID_ARGUMENT");
}
