//! Routes: aliases, canaries, copies, allow lists and ends, changed while calls run.

mod copies;
mod fallbacks;

use std::time::Duration;

use chrono::{TimeDelta, Utc};
use futures::future::join_all;
use inference_routing::{
    Error,
    commands::routes::{delete_route, put_route},
    config::ModelConfig,
    domain::route::{Mirror, Route, Target},
};
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::{
    metrics::Metrics,
    world::{World, billing, chat, config, engine::FakeEngine, id, read, rows, wait_for},
};

/// A router with the models `test` and `new`, each on an engine of its own, and `down` and `gone`,
/// whose engines are not there.
pub struct Roads {
    pub world: World,
    pub new: FakeEngine,
}

fn model(name: &str, url: &str) -> ModelConfig {
    let mut model = config(&[url]).models.remove(0);
    name.clone_into(&mut model.name);
    model.engine_model = Some(format!("engine-{name}"));
    model
}

pub async fn roads(pool: &PgPool) -> Roads {
    let new = FakeEngine::start().await;
    let dead = async || FakeEngine::start().await.url.clone();
    let (down, gone) = (dead().await, dead().await);
    let url = new.url.clone();
    let world = World::with(pool.clone(), |sections| {
        sections.models.push(model("new", &url));
        sections.models.push(model("down", &down));
        sections.models.push(model("gone", &gone));
        sections.engines.probe_every = Duration::from_secs(3600);
    })
    .await;
    Roads { world, new }
}

fn route(targets: &[(&str, u32)]) -> Route {
    let target = |(model, weight): &(&str, u32)| Target {
        model: (*model).to_owned(),
        weight: *weight,
    };
    Route {
        name: "fast".to_owned(),
        targets: targets.iter().map(target).collect(),
        fallbacks: Vec::new(),
        mirror: None,
        allowed: Vec::new(),
        deprecated_at: None,
        ends_at: None,
    }
}

/// A short answer that is asked of a name.
pub fn asked_for(name: &str, stream: bool) -> Value {
    let mut body = chat(stream, json!({"tokens": 2}));
    body["model"] = json!(name);
    body
}

impl Roads {
    /// Sets a route and waits until it holds.
    async fn put(&self, route: Route, expected: i64) -> i64 {
        let world = &self.world;
        let catalogue = &world.app.chat.catalogue;
        let name = route.name.clone();
        let kept = put_route(&world.pool, catalogue, id(), route, expected, Utc::now())
            .await
            .unwrap();
        // Routes are read each second.
        tokio::time::sleep(Duration::from_millis(1200)).await;
        assert!(!name.is_empty());
        kept.version
    }
}

#[sqlx::test]
async fn an_alias_leads_to_a_model_and_its_answer_names_the_model(pool: PgPool) {
    let roads = roads(&pool).await;
    roads.put(route(&[("test", 1)]), 0).await;
    for stream in [true, false] {
        let got = roads.world.call(&asked_for("fast", stream)).await.unwrap();
        assert_eq!(got.frames[0]["model"], "test");
    }
    let event = billing::events(&pool).await.remove(0);
    assert_eq!(event.model, "test");
}

#[sqlx::test]
async fn a_canary_gets_its_share_at_the_price_of_the_first(pool: PgPool) {
    let roads = roads(&pool).await;
    roads.put(route(&[("test", 3), ("new", 1)]), 0).await;
    for _ in 0..200 {
        let got = roads.world.call(&asked_for("fast", true)).await.unwrap();
        assert!(got.error.is_none());
    }
    let of_new = roads.new.calls();
    assert!((25..=75).contains(&of_new), "{of_new}");
    assert_eq!(of_new + roads.world.engine.calls(), 200);
    let bills = billing::events(&pool).await;
    assert_eq!(bills.len(), 200);
    assert!(bills.iter().all(|bill| bill.model == "test"));
}

#[sqlx::test]
async fn a_copy_is_sent_and_nobody_sees_or_pays_it(pool: PgPool) {
    let roads = roads(&pool).await;
    let mut route = route(&[("test", 1)]);
    route.mirror = Some(Mirror {
        model: "new".to_owned(),
        per_mille: 1000,
    });
    roads.put(route, 0).await;
    let got = roads.world.call(&asked_for("fast", true)).await.unwrap();
    wait_for("the copy", async || roads.new.calls() == 1).await;
    let copy: Value = serde_json::from_slice(&roads.new.only().body).unwrap();
    assert_eq!(copy["model"], "engine-new");
    assert_eq!(got.frames[0]["model"], "test");
    assert_eq!(billing::events(&pool).await.len(), 1);
    assert_eq!(rows::ended(&pool, &got.call_id).await.attempts, 1);
}

#[sqlx::test]
async fn copies_that_nobody_answers_cost_calls_nothing(pool: PgPool) {
    let metrics = Metrics::collected();
    // It takes connections and never reads.
    let hole = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", hole.local_addr().unwrap());
    let world = World::with(pool.clone(), |sections| {
        sections.models.push(model("hole", &url));
        sections.engines.probe_every = Duration::from_secs(3600);
    })
    .await;
    let new = FakeEngine::start().await;
    let roads = Roads { world, new };
    let mut route = route(&[("test", 1)]);
    route.mirror = Some(Mirror {
        model: "hole".to_owned(),
        per_mille: 1000,
    });
    roads.put(route, 0).await;
    // More than there is room for copies.
    for _ in 0..50 {
        let got = roads.world.call(&asked_for("fast", true)).await.unwrap();
        assert!(got.error.is_none());
    }
    let free = roads.world.app.chat.copies.available_permits();
    assert_eq!(free, 0, "all of them wait");
    for (outcome, copies) in [("sent", 32.0), ("left_out", 18.0)] {
        let of = [("model", "hole"), ("outcome", outcome)];
        assert_eq!(metrics.sum("inference_routing_copies", &of), copies);
    }
}

#[sqlx::test]
async fn a_name_exists_for_the_accounts_that_may_use_it(pool: PgPool) {
    let roads = roads(&pool).await;
    let chat = &roads.world.app.chat;
    let names = |account| {
        let names = chat.routes.names(&chat.catalogue, account, Utc::now());
        names.into_iter().map(|(name, ..)| name).collect::<Vec<_>>()
    };
    let mut only = route(&[("test", 1)]);
    only.allowed = vec![id::<()>().uuid()];
    let version = roads.put(only.clone(), 0).await;
    let refused = roads
        .world
        .call(&asked_for("fast", true))
        .await
        .unwrap_err();
    assert!(matches!(refused, Error::ModelNotFound));
    let own = roads.world.caller.account_id;
    assert_eq!(names(own), ["down", "gone", "new", "test"]);
    only.allowed.push(own.uuid());
    roads.put(only, version).await;
    roads.world.call(&asked_for("fast", true)).await.unwrap();
    assert_eq!(names(own), ["down", "fast", "gone", "new", "test"]);
}

#[sqlx::test]
async fn the_end_of_a_model_is_told_before_and_refused_after(pool: PgPool) {
    let roads = roads(&pool).await;
    let mut ending = route(&[("test", 1)]);
    ending.deprecated_at = Some(Utc::now());
    ending.ends_at = Some(Utc::now() + TimeDelta::days(30));
    let version = roads.put(ending.clone(), 0).await;
    let reply = roads.world.begin(&asked_for("fast", true)).await.unwrap();
    assert!(reply.notice.deprecated_at.is_some() && reply.notice.ends_at.is_some());
    read(reply).await;
    ending.deprecated_at = None;
    ending.ends_at = Some(Utc::now());
    roads.put(ending, version).await;
    let refused = roads
        .world
        .call(&asked_for("fast", true))
        .await
        .unwrap_err();
    assert!(matches!(refused, Error::ModelRetired { .. }), "{refused:?}");
}

#[sqlx::test]
async fn no_call_is_lost_while_routes_change(pool: PgPool) {
    let roads = roads(&pool).await;
    let mut version = roads.put(route(&[("test", 1)]), 0).await;
    let mut body = asked_for("fast", true);
    body["wanwu_script"] = json!({"tokens": 4, "delay_ms": 5});
    let calls = join_all((0..16).map(|_| async {
        for _ in 0..100 {
            let got = roads.world.call(&body).await.unwrap();
            assert!(got.error.is_none());
        }
    }));
    let changes = async {
        for targets in [[("new", 1)], [("test", 1)], [("new", 1)]] {
            let mut changed = route(&targets);
            // What is charged must have a price.
            changed.targets.insert(
                0,
                Target {
                    model: "test".to_owned(),
                    weight: 1,
                },
            );
            changed.targets.dedup_by(|a, b| a.model == b.model);
            version = roads.put(changed, version).await;
        }
    };
    tokio::join!(calls, changes);
    assert!(roads.new.calls() > 0);
}

#[sqlx::test]
async fn a_change_on_top_of_another_is_refused_and_a_route_can_end(pool: PgPool) {
    let roads = roads(&pool).await;
    let world = &roads.world;
    let catalogue = &world.app.chat.catalogue;
    let now = Utc::now();
    let put = async |expected| {
        put_route(&pool, catalogue, id(), route(&[("test", 1)]), expected, now).await
    };
    assert_eq!(put(0).await.unwrap().version, 1);
    assert!(matches!(put(0).await, Err(Error::RouteChanged)));
    assert_eq!(put(1).await.unwrap().version, 2);
    let end = async |expected| delete_route(&pool, id(), "fast", expected, now).await;
    assert!(matches!(end(1).await, Err(Error::RouteChanged)));
    end(2).await.unwrap();
    assert!(matches!(end(3).await, Err(Error::NotFound)));
    assert_eq!(put(0).await.unwrap().version, 4);
    let unknown = put_route(&pool, catalogue, id(), route(&[("x", 1)]), 4, now).await;
    assert!(matches!(
        unknown,
        Err(Error::InvalidArgument {
            field: "route.targets.model",
            ..
        })
    ));
}
