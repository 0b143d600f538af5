//! Another engine, or another model, answers where the first that is asked does not begin to: of every
//! shape, streamed and whole.

mod failing_engine;
pub mod requests;

use chrono::Utc;
use inference_routing::{
    commands::routes::put_route,
    config::Sections,
    domain::{
        placement::Policy,
        route::{Route, Target},
    },
};
use sqlx::PgPool;

use crate::world::{World, all_shapes, billing, id, rows, wait_for};
use failing_engine::{Failing, Fault};
use requests::requests;

/// An engine is not left out in these tests, however often in a row it fails.
fn forgiving(sections: &mut Sections) {
    sections.engines.eject_after = 1000;
}

/// A router whose models have an engine that is well and then this one, asked in turn.
async fn beside_one_that_is_well(pool: &PgPool, failing: &Failing) -> World {
    World::with(pool.clone(), |sections| {
        all_shapes(sections);
        forgiving(sections);
        for model in &mut sections.models {
            model.engines.extend(failing.addresses());
            model.policy = Policy::RoundRobin;
        }
    })
    .await
}

/// A router whose models have this engine alone. The names `any-test` and `any-vectors` have other models
/// to fall back to, `new-test` and `new-vectors`, whose engine is well.
async fn before_a_fallback(pool: &PgPool, failing: &Failing) -> World {
    const MODELS: [&str; 2] = ["test", "vectors"];
    let world = World::with(pool.clone(), |sections| {
        all_shapes(sections);
        forgiving(sections);
        for at in 0..MODELS.len() {
            let mut fallback = sections.models[at].clone();
            fallback.name = format!("new-{}", fallback.name);
            sections.models.push(fallback);
            sections.models[at].engines = failing.addresses();
        }
    })
    .await;
    let chat = &world.app.chat;
    for model in MODELS {
        let target = Target {
            model: model.to_owned(),
            weight: 1,
        };
        let route = Route {
            name: format!("any-{model}"),
            targets: vec![target],
            fallbacks: vec![format!("new-{model}")],
            mirror: None,
            allowed: Vec::new(),
            deprecated_at: None,
            ends_at: None,
        };
        let put = put_route(pool, &chat.catalogue, id(), route, 0, Utc::now()).await;
        put.unwrap();
    }
    let account = world.caller.account_id;
    wait_for("the routes to hold", async || {
        let names = chat.routes.names(&chat.catalogue, account, Utc::now());
        let routed = names.iter().filter(|(name, ..)| name.starts_with("any-"));
        routed.count() == MODELS.len()
    })
    .await;
    world
}

/// Every call so far has one row and one bill.
async fn each_is_paid_once(pool: &PgPool, calls: usize) {
    let rows = usize::try_from(rows::count(pool).await).unwrap();
    assert_eq!((rows, billing::events(pool).await.len()), (calls, calls));
}

async fn another_engine_answers(pool: &PgPool, fault: Fault) {
    let failing = Failing::start(fault).await;
    let world = beside_one_that_is_well(pool, &failing).await;
    let mut calls = 0;
    for asked in requests() {
        let before = failing.asked();
        // In turn: of two calls it is the first one's engine once at least.
        while failing.asked() == before {
            assert!(calls < 14, "it is never asked");
            calls += 1;
            let (row, _) = asked.answered(&world, asked.model()).await;
            let attempts = 1 + (failing.asked() - before);
            assert_eq!(usize::try_from(row.attempts), Ok(attempts), "{asked:?}");
        }
    }
    each_is_paid_once(pool, calls).await;
}

#[sqlx::test]
async fn another_engine_answers_where_one_is_unable(pool: PgPool) {
    another_engine_answers(&pool, Fault::Unable).await;
}

#[sqlx::test]
async fn another_engine_answers_where_one_breaks_before_the_first_text(pool: PgPool) {
    another_engine_answers(&pool, Fault::Breaks).await;
}

#[sqlx::test]
async fn another_engine_answers_where_one_ends_before_the_first_text(pool: PgPool) {
    another_engine_answers(&pool, Fault::Ends).await;
}

async fn another_model_answers(pool: &PgPool, fault: Fault) {
    let failing = Failing::start(fault).await;
    let world = before_a_fallback(pool, &failing).await;
    let all = requests();
    for asked in &all {
        let name = format!("any-{}", asked.model());
        let (row, model) = asked.answered(&world, &name).await;
        let expected = (2, format!("new-{}", asked.model()));
        assert_eq!((row.attempts, model), expected, "{asked:?}");
    }
    assert_eq!(failing.asked(), all.len());
    each_is_paid_once(pool, all.len()).await;
}

#[sqlx::test]
async fn another_model_answers_where_the_engines_of_one_are_unable(pool: PgPool) {
    another_model_answers(&pool, Fault::Unable).await;
}

#[sqlx::test]
async fn another_model_answers_where_the_engines_of_one_break_before_the_first_text(pool: PgPool) {
    another_model_answers(&pool, Fault::Breaks).await;
}

#[sqlx::test]
async fn another_model_answers_where_the_engines_of_one_end_before_the_first_text(pool: PgPool) {
    another_model_answers(&pool, Fault::Ends).await;
}

#[sqlx::test]
async fn what_was_said_already_is_not_said_again_by_another_model(pool: PgPool) {
    let failing = Failing::start(Fault::BreaksLater).await;
    let world = before_a_fallback(&pool, &failing).await;
    for asked in requests().iter().filter(|asked| asked.stream) {
        let got = asked.call(&world, &format!("any-{}", asked.model())).await;
        let error = got.error.unwrap();
        assert_eq!(error["error"]["code"], "engine_failed", "{asked:?}");
        assert_eq!(got.frames.len(), asked.text_at + 1, "{asked:?}");
        let row = rows::ended(&pool, &got.call_id).await;
        let ended = (row.attempts, row.outcome, row.output_tokens);
        assert_eq!(ended, (1, 3, 1), "{asked:?}");
    }
    assert_eq!(world.engine.calls(), 0);
}
