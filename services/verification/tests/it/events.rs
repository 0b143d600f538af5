use std::time::Duration;

use prost::Message;
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;
use wanwu_events::Relay;
use wanwu_proto::verification::v1::{AgeBand, RealNameChanged};
use wanwu_testkit::{TestBroker, wait_for};

use crate::world::{World, resident_id};

#[sqlx::test]
async fn the_result_leaves_through_the_outbox_once_and_carries_no_personal_value(pool: PgPool) {
    let world = World::new(pool).await;
    let account = world.verified(&resident_id("20081124")).await;
    let payload: Vec<u8> = sqlx::query_scalar("select payload from outbox")
        .fetch_one(&world.pool)
        .await
        .unwrap();
    let event = RealNameChanged::decode(&payload[..]).unwrap();
    let expected = RealNameChanged {
        account_id: account.to_string(),
        version: 1,
        verified: true,
        age_band: AgeBand::AgeBand14To17.into(),
    };
    assert_eq!(event, expected);
    let stop = CancellationToken::new();
    let relay = Relay::new(
        world.pool.clone(),
        TestBroker::new().config(),
        "verification",
    );
    let relay = tokio::spawn(relay.run(stop.clone()));
    wait_for("the broker", Duration::from_secs(30), || async {
        let open = "select count(*) from outbox where published_at is null";
        let open: i64 = sqlx::query_scalar(open)
            .fetch_one(&world.pool)
            .await
            .unwrap();
        open == 0
    })
    .await;
    let attempts: i32 = sqlx::query_scalar("select attempts from outbox")
        .fetch_one(&world.pool)
        .await
        .unwrap();
    assert_eq!(attempts, 1);
    stop.cancel();
    relay.await.unwrap();
}
