//! What a trace shows of a call.

use std::{collections::BTreeMap, fmt, sync::Arc};

use parking_lot::Mutex;
use serde_json::json;
use sqlx::PgPool;
use tracing::{
    Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
    subscriber::DefaultGuard,
};
use tracing_subscriber::{
    Layer, layer::Context, layer::SubscriberExt, registry::LookupSpan, util::SubscriberInitExt,
};

use crate::world::{World, chat, read, rows};

/// Fields of a span, by name.
type Fields = BTreeMap<&'static str, String>;

/// The spans that ended, as a layer sees them.
#[derive(Clone, Default)]
struct Spans(Arc<Mutex<Vec<(&'static str, Fields)>>>);

struct Said<'a>(&'a mut Fields);

impl Visit for Said<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name(), value.to_owned());
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Spans {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = Fields::new();
        attributes.record(&mut Said(&mut fields));
        let span = context.span(id).unwrap();
        span.extensions_mut().insert(fields);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let span = context.span(id).unwrap();
        let mut extensions = span.extensions_mut();
        values.record(&mut Said(extensions.get_mut::<Fields>().unwrap()));
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let span = context.span(&id).unwrap();
        let fields = span.extensions_mut().remove::<Fields>().unwrap();
        self.0.lock().push((span.name(), fields));
    }
}

impl Spans {
    /// All of this test's thread, from now on.
    fn collected() -> (Self, DefaultGuard) {
        let spans = Self::default();
        let guard = tracing_subscriber::registry()
            .with(spans.clone())
            .set_default();
        (spans, guard)
    }

    /// Those of a name, which are forgotten.
    fn take(&self, name: &str) -> Vec<Fields> {
        let mut all = self.0.lock();
        let taken = all.extract_if(.., |(known, _)| *known == name);
        taken.map(|(_, fields)| fields).collect()
    }
}

#[sqlx::test]
async fn a_call_that_waits_for_its_turn_shows_the_queue(pool: PgPool) {
    let (spans, _collecting) = Spans::collected();
    let world = World::with(pool, |sections| sections.chat.max_running = 1).await;
    let slow = chat(true, json!({"tokens": 5, "delay_ms": 20}));
    let first = world.begin(&slow).await.unwrap();
    assert!(spans.take("inference.queue").is_empty(), "it did not wait");
    let (_, second) = tokio::join!(read(first), world.call(&slow));
    second.unwrap();
    assert_eq!(spans.take("inference.queue").len(), 1);
}

#[sqlx::test]
async fn a_stream_shows_its_engine_the_scores_and_how_it_ended(pool: PgPool) {
    let (spans, _collecting) = Spans::collected();
    let world = World::start(pool.clone()).await;
    let term = json!({"text": ["see WANWU-demo", "-forbidden"]});
    for (script, end, class) in [
        (json!({"tokens": 3}), "completed", None),
        (json!({"tokens": 9, "cut_after": 2}), "cut", None),
        (term, "content_stopped", Some("demo.a1")),
    ] {
        let got = world.call(&chat(true, script)).await.unwrap();
        rows::ended(&pool, &got.call_id).await;
        let attempt = spans.take("inference.attempt").remove(0);
        assert!(
            attempt["placement.scores"].contains("score="),
            "{attempt:?}"
        );
        let stream = spans.take("inference.stream").remove(0);
        assert_eq!(stream["engine.url"], world.engine.url);
        assert_eq!(stream["stream.end"], end);
        assert_eq!(stream.get("screen.class").map(String::as_str), class);
        for step in ["inference.dispatch_commit", "inference.final_commit"] {
            assert_eq!(spans.take(step).len(), 1, "{end}: {step}");
        }
    }
}

#[sqlx::test]
async fn the_screening_of_a_whole_answer_is_a_step(pool: PgPool) {
    let (spans, _collecting) = Spans::collected();
    let world = World::start(pool).await;
    let term = json!({"text": ["see WANWU-demo", "-forbidden"]});
    for (script, class) in [(json!({"tokens": 3}), None), (term, Some("demo.a1"))] {
        world.call(&chat(false, script)).await.unwrap();
        let step = spans.take("inference.screen_output").remove(0);
        assert_eq!(step.get("screen.class").map(String::as_str), class);
    }
}
