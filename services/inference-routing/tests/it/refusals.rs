//! What is refused before it begins.

use std::{num::NonZeroU64, time::Duration};

use aws_lc_rs::digest;
use bytes::Bytes;
use chrono::Utc;
use inference_routing::{
    Error,
    commands::{chat::CreateCall, limits::set_limits, routes::put_route},
    domain::{
        limits::{Limits, Rule, Subject},
        request_body::MAX_BYTES,
        route::{Route, Target},
        shape::Shape,
    },
};
use serde_json::{Value, json};
use sqlx::PgPool;
use wanwu_ids::{AppId, DeviceId};
use wanwu_proto::device::v1::{DeviceGate, DeviceLicence};

use crate::{
    metrics::Metrics,
    world::{World, chat, id, read, rows, wait_for},
};

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

/// A call is refused, and counted once: by this reason, with the label of its model where `known`.
async fn counted(world: &World, metrics: &Metrics, call: CreateCall, reason: &str, known: bool) {
    let count = |labels: &[(&str, &str)]| metrics.sum("inference_routing_refusals", labels);
    let (of_reason, of_model) = (("reason", reason), ("model", "test"));
    let counts = || {
        [
            count(&[]),
            count(&[of_reason]),
            count(&[of_reason, of_model]),
        ]
    };
    let before = counts();
    let refused = world.app.chat.create(call).await.unwrap_err();
    let [all, by_reason, by_model] = counts();
    assert_eq!(
        [all - before[0], by_reason - before[1], by_model - before[2]],
        [1.0, 1.0, f64::from(u8::from(known))],
        "{reason}: {refused:?}"
    );
}

/// Sets a route whose end has come; answers when that holds.
async fn retire(world: &World, name: &str) {
    let chat = &world.app.chat;
    let now = Utc::now();
    let route = Route {
        name: name.to_owned(),
        targets: vec![Target {
            model: "test".to_owned(),
            weight: 1,
        }],
        fallbacks: Vec::new(),
        mirror: None,
        allowed: Vec::new(),
        deprecated_at: None,
        ends_at: Some(now),
    };
    put_route(&world.pool, &chat.catalogue, id(), route, 0, now)
        .await
        .unwrap();
    let account = world.caller.account_id;
    wait_for("the route", async || {
        let way = chat.routes.way(&chat.catalogue, name, account, id(), now);
        matches!(way, Err(Error::ModelRetired { .. }))
    })
    .await;
}

#[sqlx::test]
async fn what_is_refused_for_what_it_asks_is_counted_by_its_reason(pool: PgPool) {
    let metrics = Metrics::collected();
    let world = World::start(pool).await;
    retire(&world, "retired").await;
    let gated: AppId = id();
    world.devices.put(DeviceGate {
        gate_id: gated.to_string(),
        version: 1,
        demanded_capabilities: vec!["chat".to_owned()],
        ..DeviceGate::default()
    });
    let with = |field: &str, value: Value| {
        let mut body = chat(true, json!({"tokens": 1}));
        body[field] = value;
        world.request(&body)
    };
    let changed = |change: &dyn Fn(&mut CreateCall)| {
        let mut call = world.request(&chat(true, json!({"tokens": 1})));
        change(&mut call);
        call
    };
    let term = json!([{"role": "user", "content": "a wanwu-demo-sensitive b"}]);
    let vectors = Bytes::from(json!({"model": "test", "input": "a"}).to_string());
    let unknown = [
        (
            "INVALID_ARGUMENT",
            changed(&|call| call.idempotency_key = "k".repeat(129)),
        ),
        ("INVALID_BODY", with("messages", json!([]))),
        (
            "TOO_LARGE",
            changed(&|call| call.body = vec![b' '; MAX_BYTES + 1].into()),
        ),
        ("UNBOUNDED_COST", with("web_search_options", json!({}))),
        ("STATE_NOT_KEPT", with("store", json!(true))),
        ("MODEL_NOT_FOUND", with("model", json!("nobody"))),
        ("MODEL_RETIRED", with("model", json!("retired"))),
    ];
    let known = [
        (
            "SHAPE_NOT_SERVED",
            changed(&|call| (call.shape, call.body) = (Shape::Embeddings, vectors.clone())),
        ),
        (
            "DEVICE_LICENCE_REQUIRED",
            changed(&|call| call.caller.app_id = gated),
        ),
        ("CONTENT_REFUSED", with("messages", term)),
    ];
    for (reason, call) in unknown {
        counted(&world, &metrics, call, reason, false).await;
    }
    for (reason, call) in known {
        counted(&world, &metrics, call, reason, true).await;
    }
    let input = [("side", "input")];
    assert_eq!(metrics.sum("inference_routing_violations", &input), 1.0);
    // What clients call models is no label.
    let named = [("model", "nobody")];
    assert_eq!(metrics.sum("inference_routing_refusals", &named), 0.0);
    assert_eq!(world.engine.calls(), 0);
}

#[sqlx::test]
async fn what_is_refused_for_want_of_something_is_counted_by_its_reason(pool: PgPool) {
    let metrics = Metrics::collected();
    let world = World::with(pool.clone(), |config| {
        config.chat.max_running_per_account = 1;
        config.chat.queue_timeout = Duration::from_millis(500);
    })
    .await;
    let call = world.request(&chat(true, json!({"tokens": 1})));
    let refused = async |call: &CreateCall, reason: &str| {
        counted(&world, &metrics, call.clone(), reason, true).await;
    };
    let mut once = call.clone();
    once.idempotency_key = "order-7".to_owned();
    read(world.app.chat.create(once.clone()).await.unwrap()).await;
    refused(&once, "DUPLICATE_CALL").await;

    let mut limited = call.clone();
    limited.caller.key_id = id();
    let rule = Rule {
        limits: Limits {
            requests_per_minute: NonZeroU64::new(1),
            ..Limits::default()
        },
        priority: None,
    };
    let (account, key) = (call.caller.account_id, Subject::key(limited.caller.key_id));
    set_limits(&pool, account, key, rule).await.unwrap();
    wait_for("the limit to hold", async || {
        match world.app.chat.create(limited.clone()).await {
            Ok(reply) => read(reply).await.error.is_some(),
            Err(error) => matches!(error, Error::LimitReached(_)),
        }
    })
    .await;
    refused(&limited, "LIMIT_REACHED").await;
    let requests = [("subject", "key"), ("limit", "requests_per_minute")];
    assert_eq!(
        metrics.sum("inference_routing_limit_refusals", &requests),
        2.0
    );
    assert!(metrics.sum("inference_routing_limit_asks", &[]) >= 1.0);

    let other = || {
        let mut call = call.clone();
        (call.caller.account_id, call.caller.key_id) = (id(), id());
        call
    };
    let billing = &world.billing;
    let poor = other();
    billing.set(poor.caller.account_id, 0);
    refused(&poor, "INSUFFICIENT_BALANCE").await;
    assert!(metrics.sum("inference_routing_credit_shortages", &[]) >= 2.0);
    let unlent = other();
    billing.give(unlent.caller.account_id, 1_000_000_000);
    billing.go_down(true);
    refused(&unlent, "UNAVAILABLE").await;
    billing.go_down(false);

    let running = world
        .begin(&chat(true, json!({"tokens": 1000, "delay_ms": 20})))
        .await
        .unwrap();
    refused(&call, "BUSY").await;
    drop(running);
    let bound = other();
    billing.give(bound.caller.account_id, 1_000_000_000);
    billing.set_budget(bound.caller.account_id, bound.caller.key_id, 0);
    refused(&bound, "BUDGET_EXHAUSTED").await;

    // The epoch cannot be renewed any more.
    let mut tx = pool.begin().await.unwrap();
    sqlx::query("lock table router_epochs in exclusive mode")
        .execute(&mut *tx)
        .await
        .unwrap();
    wait_for("the epoch to be old", async || !world.app.is_ready()).await;
    refused(&call, "JOURNAL_UNAVAILABLE").await;
    tx.rollback().await.unwrap();
}
