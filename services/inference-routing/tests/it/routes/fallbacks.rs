//! Fallbacks: the models that are asked where no engine of the one before begins to answer.

use std::time::Duration;

use inference_routing::{
    Error,
    domain::route::{Route, Target},
};
use serde_json::json;
use sqlx::PgPool;

use super::{Roads, asked_for, model, roads, route};
use crate::{
    busy::BusyEngine,
    full_engines::FullEngine,
    metrics::Metrics,
    world::{World, engine::FakeEngine, rows, wait_for},
};

#[sqlx::test]
async fn a_fallback_answers_where_no_engine_of_the_model_does(pool: PgPool) {
    let roads = roads(&pool).await;
    let mut route = route(&[("test", 1)]);
    route.targets[0].model = "down".to_owned();
    route.targets.push(Target {
        model: "test".to_owned(),
        weight: 1,
    });
    // The price is of `test`, which the tests' list has.
    route.targets.reverse();
    route.fallbacks = vec!["down".to_owned(), "new".to_owned()];
    roads.put(route, 0).await;
    for _ in 0..20 {
        let got = roads.world.call(&asked_for("fast", true)).await.unwrap();
        let answered_by = got.frames[0]["model"].as_str().unwrap().to_owned();
        assert!(["test", "new"].contains(&&*answered_by), "{answered_by}");
    }
    assert!(
        roads.new.calls() > 0,
        "half of the calls go to the dead one"
    );
    assert_eq!(roads.new.calls() + roads.world.engine.calls(), 20);
}

/// Nearly all calls are for `down`.
fn nearly_all_for_the_dead_one(fallbacks: &[&str]) -> Route {
    // The first names the price, and the tests' list has one of `test`.
    let mut route = route(&[("test", 1), ("down", 10_000)]);
    route.fallbacks = fallbacks.iter().map(|name| (*name).to_owned()).collect();
    route
}

/// All calls and their attempts.
async fn calls_and_attempts(pool: &PgPool) -> (i64, i64) {
    sqlx::query_as(
        "select count(*), coalesce(sum(attempts), 0)::bigint from calls where outcome <> 0",
    )
    .fetch_one(pool)
    .await
    .unwrap()
}

#[sqlx::test]
async fn a_dead_model_is_passed_by_and_shows_when_it_is_well_again(pool: PgPool) {
    let roads = roads(&pool).await;
    roads.put(nearly_all_for_the_dead_one(&["new"]), 0).await;
    for _ in 0..300 {
        roads.world.call(&asked_for("fast", true)).await.unwrap();
    }
    let (calls, attempts) = calls_and_attempts(&pool).await;
    // One a second shows how it is.
    assert!(calls == 300 && attempts <= 330, "{attempts} of {calls}");
    assert!(roads.new.calls() >= 295, "{}", roads.new.calls());
}

#[sqlx::test]
async fn a_chain_of_fallbacks_is_followed_to_the_one_that_answers(pool: PgPool) {
    let roads = roads(&pool).await;
    let chain = nearly_all_for_the_dead_one(&["gone", "new"]);
    roads.put(chain, 0).await;
    let got = roads.world.call(&asked_for("fast", true)).await.unwrap();
    assert_eq!(got.frames[0]["model"], "new");
    assert_eq!(rows::ended(&pool, &got.call_id).await.attempts, 3);
}

#[sqlx::test]
async fn metrics_name_who_answered_beside_who_is_charged(pool: PgPool) {
    let metrics = Metrics::collected();
    let roads = roads(&pool).await;
    roads.put(nearly_all_for_the_dead_one(&["new"]), 0).await;
    for _ in 0..5 {
        let got = roads.world.call(&asked_for("fast", true)).await.unwrap();
        rows::ended(&pool, &got.call_id).await;
    }
    let of = [
        ("gen_ai_request_model", "test"),
        ("gen_ai_response_model", "new"),
    ];
    let first = "gen_ai_server_time_to_first_token_seconds_count";
    assert!(metrics.sum(first, &of) >= 4.0);
    let went_on = [("model", "down"), ("to", "new")];
    assert!(metrics.sum("inference_routing_fallbacks", &went_on) >= 4.0);
    for attempts in [
        [("model", "down"), ("outcome", "failed")],
        [("model", "new"), ("outcome", "well")],
    ] {
        let made = metrics.sum("inference_routing_attempts", &attempts);
        assert!(made >= 1.0, "{attempts:?}");
    }
}

#[sqlx::test]
async fn in_a_storm_fallbacks_are_within_the_budget_of_attempts(pool: PgPool) {
    let roads = roads(&pool).await;
    roads.put(nearly_all_for_the_dead_one(&["new"]), 0).await;
    let Roads { world, new } = roads;
    drop(new);
    let mut failed = 0;
    for _ in 0..300 {
        failed += u32::from(world.call(&asked_for("fast", true)).await.is_err());
    }
    assert!(failed >= 295, "{failed}");
    wait_for("the final rows", async || {
        calls_and_attempts(&pool).await.0 == 300
    })
    .await;
    let (calls, attempts) = calls_and_attempts(&pool).await;
    assert!(attempts * 5 <= calls * 6, "{attempts} of {calls}");
}

#[sqlx::test]
async fn what_an_engine_refuses_is_not_asked_of_another_model(pool: PgPool) {
    let roads = roads(&pool).await;
    let mut route = route(&[("test", 1)]);
    route.fallbacks = vec!["new".to_owned()];
    roads.put(route, 0).await;
    let mut body = asked_for("fast", true);
    body["wanwu_script"] = json!({"status": 422});
    let refused = roads.world.call(&body).await.unwrap_err();
    assert!(
        matches!(refused, Error::EngineRefused { .. }),
        "{refused:?}"
    );
    assert_eq!(roads.new.calls(), 0);
}

#[sqlx::test]
async fn after_a_first_token_no_other_model_is_asked(pool: PgPool) {
    let roads = roads(&pool).await;
    let mut route = route(&[("test", 1)]);
    route.fallbacks = vec!["new".to_owned()];
    roads.put(route, 0).await;
    let mut body = asked_for("fast", true);
    body["wanwu_script"] = json!({"tokens": 10, "cut_after": 2, "delay_ms": 5});
    let got = roads.world.call(&body).await.unwrap();
    assert_eq!(got.frames.len(), 2);
    assert_eq!(got.error.unwrap()["error"]["code"], "engine_failed");
    assert_eq!(rows::ended(&pool, &got.call_id).await.attempts, 1);
    assert_eq!((roads.world.engine.calls(), roads.new.calls()), (1, 0));
    // Before one it is, and cuts as well.
    body["wanwu_script"]["cut_after"] = json!(0);
    let refused = roads.world.call(&body).await.unwrap_err();
    assert!(
        matches!(refused, Error::EngineUnavailable(_)),
        "{refused:?}"
    );
    assert_eq!((roads.world.engine.calls(), roads.new.calls()), (2, 1));
}

#[sqlx::test]
async fn of_models_that_are_all_busy_the_least_time_is_told(pool: PgPool) {
    let (first, fallback) = (BusyEngine::start(30).await, BusyEngine::start(50).await);
    let world = World::with(pool.clone(), |sections| {
        sections.models[0].engines[0].url = first.url.clone();
        sections.models.push(model("new", &fallback.url));
    })
    .await;
    let new = FakeEngine::start().await;
    let roads = Roads { world, new };
    let mut route = route(&[("test", 1)]);
    route.fallbacks = vec!["new".to_owned()];
    roads.put(route, 0).await;
    let refused = roads.world.call(&asked_for("fast", true)).await;
    let Err(Error::Busy { retry_after }) = refused else {
        panic!("{refused:?}")
    };
    assert_eq!(retry_after, Duration::from_secs(30));
    assert_eq!((first.asked(), fallback.asked()), (1, 1));
}

#[sqlx::test]
async fn a_call_whose_models_engines_are_full_goes_to_the_fallback(pool: PgPool) {
    let first = FullEngine::start(1, Duration::from_secs(3)).await;
    let new = FakeEngine::start().await;
    let world = World::with(pool.clone(), |sections| {
        sections.models[0].engines[0].url = first.url.clone();
        sections.models.push(model("new", &new.url));
    })
    .await;
    let roads = Roads { world, new };
    let mut route = route(&[("test", 1)]);
    route.fallbacks = vec!["new".to_owned()];
    roads.put(route, 0).await;
    let body = asked_for("fast", true);
    let running = roads.world.call(&body);
    let others = async {
        wait_for("the first to run", async || first.asked() == 1).await;
        for _ in 0..5 {
            let got = roads.world.call(&body).await.unwrap();
            assert_eq!(got.frames[0]["model"], "new");
        }
    };
    let (running, ()) = tokio::join!(running, others);
    assert_eq!(running.unwrap().error, None);
    // One found out that it is full; the others did not ask.
    assert_eq!((first.asked(), roads.new.calls()), (2, 5));
}
