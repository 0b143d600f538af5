//! Copies of calls of every shape, streamed and whole: another model's engine gets them, and neither the
//! client nor the bill shows anything of it.

use std::time::Duration;

use chrono::Utc;
use inference_routing::{commands::routes::put_route, domain::route::Mirror};
use serde_json::Value;
use sqlx::PgPool;

use super::{Roads, route};
use crate::{
    again::requests::requests,
    metrics::Metrics,
    world::{
        Got, World, all_shapes, billing, config,
        engine::{FakeEngine, Seen},
        id,
        rows::{self, CallRow},
        wait_for,
    },
};

const MODELS: [&str; 2] = ["test", "vectors"];

/// A router whose models have the names `copied-test` and `copied-vectors` too: calls by these are copied to
/// `new-test` and `new-vectors`, which have an engine of their own and no price.
async fn with_copies(pool: &PgPool) -> Roads {
    let new = FakeEngine::start().await;
    let world = World::with(pool.clone(), |sections| {
        all_shapes(sections);
        sections.engines.probe_every = Duration::from_secs(3600);
        for at in 0..MODELS.len() {
            let mut copied = sections.models[at].clone();
            copied.name = format!("new-{}", copied.name);
            copied.engine_model = Some("engine-new".to_owned());
            copied.engines = config(&[&new.url]).models.remove(0).engines;
            sections.models.push(copied);
        }
    })
    .await;
    let chat = &world.app.chat;
    for model in MODELS {
        let mut route = route(&[(model, 1)]);
        route.name = format!("copied-{model}");
        route.mirror = Some(Mirror {
            model: format!("new-{model}"),
            per_mille: 1000,
        });
        let put = put_route(pool, &chat.catalogue, id(), route, 0, Utc::now()).await;
        put.unwrap();
    }
    let account = world.caller.account_id;
    wait_for("the routes to hold", async || {
        let names = chat.routes.names(&chat.catalogue, account, Utc::now());
        let copied = names
            .iter()
            .filter(|(name, ..)| name.starts_with("copied-"));
        copied.count() == MODELS.len()
    })
    .await;
    Roads { world, new }
}

/// What an engine was asked, but for the model, which is this one.
fn asked_of(seen: &Seen, model: &str) -> (String, Value) {
    let mut body: Value = serde_json::from_slice(&seen.body).unwrap();
    assert_eq!(body["model"].take(), model);
    (seen.path.clone(), body)
}

/// What a client got and pays, without what no two calls have in common.
async fn got_and_paid(pool: &PgPool, mut got: Got) -> (Vec<Value>, Vec<String>, CallRow) {
    assert_eq!(got.error, None);
    for frame in &mut got.frames {
        frame.as_object_mut().unwrap().remove("aigc");
    }
    let row = rows::ended(pool, &got.call_id).await;
    // Recorded when it is due, not with each event.
    let row = CallRow {
        progress_output: None,
        ..row
    };
    (got.frames, got.events, row)
}

#[sqlx::test]
async fn a_copy_of_each_shape_is_answered_to_its_end_and_nobody_sees_or_pays_it(pool: PgPool) {
    let metrics = Metrics::collected();
    let Roads { world, new } = with_copies(&pool).await;
    let answered = || {
        let of_new = [("engine", new.url.as_str()), ("outcome", "well")];
        metrics.sum("inference_routing_attempts", &of_new)
    };
    let all = requests();
    for asked in &all {
        let model = asked.model();
        let alone = asked.call(&world, model).await;
        let alone = got_and_paid(&pool, alone).await;
        let before = answered();
        let got = asked.call(&world, &format!("copied-{model}")).await;
        let call = got.call_id.clone();
        assert_eq!(got_and_paid(&pool, got).await, alone, "{asked:?}");
        wait_for("the copy's answer", async || answered() > before).await;
        assert_eq!(answered(), before + 1.0, "{asked:?}");
        let (first, copy) = (world.engine.seen(&call), new.seen(&call));
        let (first, copy) = (first.unwrap(), copy.unwrap());
        assert_eq!((first.times, copy.times), (1, 1), "{asked:?}");
        assert_eq!(copy.path, asked.shape.path());
        let asked_first = asked_of(&first, "engine-test");
        assert_eq!(asked_of(&copy, "engine-new"), asked_first, "{asked:?}");
    }
    assert_eq!(new.calls(), all.len());
    let sent = metrics.sum("inference_routing_copies", &[("outcome", "sent")]);
    assert_eq!(sent, all.len() as f64);
    // Each of these was asked twice, and copied once.
    let bills = billing::events(&pool).await;
    assert_eq!(bills.len(), 2 * all.len());
    assert!(bills.iter().all(|bill| MODELS.contains(&&*bill.model)));
    assert_eq!(rows::count(&pool).await, bills.len() as i64);
}
