//! What is refused before it begins.

use std::time::Duration;

use aws_lc_rs::digest;
use inference_routing::Error;
use serde_json::json;
use sqlx::PgPool;
use wanwu_ids::DeviceId;
use wanwu_proto::device::v1::{DeviceGate, DeviceLicence};

use crate::world::{World, chat, id, rows};

#[sqlx::test]
async fn an_unknown_model_and_a_bad_body_are_refused(pool: PgPool) {
    let world = World::start(pool).await;
    let mut body = chat(true, json!({}));
    body["model"] = json!("nobody");
    assert!(matches!(world.call(&body).await, Err(Error::ModelNotFound)));
    body["model"] = json!("test");
    body["messages"] = json!([]);
    assert!(matches!(world.call(&body).await, Err(Error::Body(_))));
    assert_eq!(world.engine.calls(), 0);
}

#[sqlx::test]
async fn a_key_is_good_for_one_call_a_day(pool: PgPool) {
    let world = World::start(pool.clone()).await;
    let mut request = world.request(&chat(true, json!({"tokens": 1})));
    request.idempotency_key = "order-7".to_owned();
    let calls = (0..10).map(|_| world.app.chat.create(request.clone()));
    let results = futures::future::join_all(calls).await;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
    assert_eq!(
        results
            .iter()
            .filter(|r| matches!(r, Err(Error::DuplicateCall)))
            .count(),
        9
    );
    assert_eq!((world.engine.calls(), rows::count(&pool).await), (1, 1));
    // The same where the first one is durable already: the database refuses, and keeps no row of it.
    let later = world.app.chat.create(request.clone()).await;
    assert!(matches!(later, Err(Error::DuplicateCall)));
    assert_eq!((world.engine.calls(), rows::count(&pool).await), (1, 1));

    let another_app = {
        let mut request = request.clone();
        request.caller.app_id = id();
        world.app.chat.create(request)
    };
    assert!(another_app.await.is_ok());
    sqlx::query("update idempotency_keys set used_at = now() - interval '25 hours'")
        .execute(&pool)
        .await
        .unwrap();
    assert!(world.app.chat.create(request).await.is_ok());
}

#[sqlx::test]
async fn a_key_whose_call_no_engine_answered_may_be_used_again(pool: PgPool) {
    let world = World::start(pool).await;
    let mut request = world.request(&chat(true, json!({"status": 500})));
    request.idempotency_key = "again".to_owned();
    assert!(matches!(
        world.app.chat.create(request.clone()).await,
        Err(Error::EngineUnavailable(_))
    ));
    request.body = chat(false, json!({"tokens": 1})).to_string().into();
    assert!(world.app.chat.create(request).await.is_ok());
}

#[sqlx::test]
async fn an_app_that_demands_a_licensed_device_gets_no_answer_without_one(pool: PgPool) {
    let world = World::start(pool).await;
    let app = world.caller.app_id.to_string();
    world.devices.put(DeviceGate {
        gate_id: app.clone(),
        version: 1,
        demanded_capabilities: vec!["chat".to_owned()],
        ..DeviceGate::default()
    });
    let device: DeviceId = id();
    let secret = "k".repeat(43);
    let hash = digest::digest(&digest::SHA256, secret.as_bytes());
    world.devices.put(DeviceGate {
        gate_id: device.to_string(),
        version: 1,
        app_id: app,
        secret_hash: hash.as_ref().to_vec(),
        licences: vec![DeviceLicence {
            capability: "chat".to_owned(),
            expire_time: None,
        }],
        ..DeviceGate::default()
    });
    let mut request = world.request(&chat(true, json!({"tokens": 1})));
    let wrong = format!("wd-{}-{}", device.uuid().simple(), "x".repeat(43));
    for token in ["", "nonsense", wrong.as_str()] {
        token.clone_into(&mut request.device_token);
        let refused = world.app.chat.create(request.clone()).await;
        assert!(
            matches!(refused, Err(Error::DeviceLicenceRequired)),
            "{token}"
        );
    }
    request.device_token = format!("wd-{}-{secret}", device.uuid().simple());
    assert!(world.app.chat.create(request).await.is_ok());
}

#[sqlx::test]
async fn an_account_that_runs_too_much_is_told_to_come_again(pool: PgPool) {
    let world = World::with(pool, |config| {
        config.chat.max_running_per_account = 1;
        config.chat.queue_timeout = Duration::from_millis(50);
    })
    .await;
    let script = json!({"tokens": 100, "delay_ms": 50});
    let _running = world.begin(&chat(true, script)).await.unwrap();
    let refused = world.call(&chat(true, json!({"tokens": 1}))).await;
    assert!(matches!(refused, Err(Error::Busy { .. })));
}
