//! The span of a call as an exporter gets it, by OpenTelemetry's conventions for generative AI.

use inference_routing::{Error, commands::gen_ai, domain::shape::Shape};
use opentelemetry::{
    Array, Value,
    trace::{SpanKind, Status, TracerProvider},
};
use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider, SpanData};
use serde_json::json;
use sqlx::PgPool;
use tracing::{Instrument, level_filters::LevelFilter, subscriber::DefaultGuard};
use tracing_subscriber::{layer::SubscriberExt, util::SubscriberInitExt};

use crate::world::{Got, World, chat, engine::PROMPT_TOKENS, read, wait_for};

/// The spans that ended, as an exporter gets them.
struct Exported(InMemorySpanExporter);

impl Exported {
    /// All of this test's thread, from now on.
    fn collected() -> (Self, DefaultGuard) {
        let exporter = InMemorySpanExporter::default();
        let provider = SdkTracerProvider::builder()
            .with_simple_exporter(exporter.clone())
            .build();
        // As services have it.
        let spans = tracing_opentelemetry::layer()
            .with_tracer(provider.tracer("test"))
            .with_context_activation(false);
        let guard = tracing_subscriber::registry()
            .with(LevelFilter::INFO)
            .with(spans)
            .set_default();
        (Self(exporter), guard)
    }

    /// The next span of a call; it and what was below it are forgotten.
    async fn call(&self) -> SpanData {
        let find = || {
            let spans = self.0.get_finished_spans().unwrap();
            let is_call = |span: &SpanData| value(span, "gen_ai.operation.name").is_some();
            spans.into_iter().find(is_call)
        };
        wait_for("the span of the call", async || find().is_some()).await;
        let call = find().unwrap();
        self.0.reset();
        call
    }
}

/// An attribute of a span, where it has it.
fn value(span: &SpanData, name: &str) -> Option<Value> {
    let mut of_name = span.attributes.iter().filter(|it| it.key.as_str() == name);
    of_name.next().map(|it| it.value.clone())
}

/// Makes a call as the service does.
async fn call(world: &World, body: &serde_json::Value) -> Result<Got, Error> {
    let created = world.app.chat.create(world.request(body));
    let reply = created.instrument(gen_ai::span(Shape::Chat)).await?;
    Ok(read(reply).await)
}

#[sqlx::test]
async fn a_call_is_named_by_what_is_done_and_its_model_and_shows_no_content(pool: PgPool) {
    let (spans, _collecting) = Exported::collected();
    let world = World::start(pool).await;
    let mut body = chat(true, json!({"tokens": 3, "reasoning": 2}));
    body["temperature"] = json!(0.5);
    body["seed"] = json!(7);
    body["max_tokens"] = json!(50);
    body["stop"] = json!(["秘密"]);
    body["response_format"] = json!({"type": "json_object"});
    call(&world, &body).await.unwrap();
    let call = spans.call().await;
    assert_eq!(call.name, "chat test");
    assert_eq!(call.span_kind, SpanKind::Client);
    assert_eq!(call.status, Status::Unset);
    let (_, port) = world.engine.url.rsplit_once(':').unwrap();
    let expected: [(&str, Value); 15] = [
        ("gen_ai.provider.name", "wanwu".into()),
        ("gen_ai.request.model", "test".into()),
        ("gen_ai.request.stream", true.into()),
        ("gen_ai.request.max_tokens", 50_i64.into()),
        ("gen_ai.request.temperature", 0.5_f64.into()),
        ("gen_ai.request.seed", 7_i64.into()),
        ("gen_ai.output.type", "json".into()),
        ("gen_ai.response.id", "chatcmpl-1".into()),
        ("gen_ai.response.model", "engine-test".into()),
        ("gen_ai.usage.input_tokens", (PROMPT_TOKENS as i64).into()),
        ("gen_ai.usage.cache_read.input_tokens", 0_i64.into()),
        ("gen_ai.usage.output_tokens", 3_i64.into()),
        ("gen_ai.usage.reasoning.output_tokens", 2_i64.into()),
        ("server.address", "127.0.0.1".into()),
        ("server.port", port.parse::<i64>().unwrap().into()),
    ];
    for (name, expected) in expected {
        assert_eq!(value(&call, name), Some(expected), "{name}");
    }
    for name in ["gen_ai.request.choice.count", "error.type"] {
        assert_eq!(value(&call, name), None, "{name}");
    }
    let whole = format!("{call:?}");
    for content in ["你好", "词0", "秘密"] {
        assert!(!whole.contains(content), "{whole}");
    }
}

#[sqlx::test]
async fn a_call_says_why_its_answers_ended(pool: PgPool) {
    let (spans, _collecting) = Exported::collected();
    let world = World::start(pool).await;
    let term = json!({"text": ["see WANWU-demo", "-forbidden"]});
    for (stream, script, reason, error, status) in [
        (true, json!({"tokens": 3}), "stop", None, Status::Unset),
        (false, json!({"tokens": 3}), "stop", None, Status::Unset),
        (
            true,
            json!({"tokens": 9, "cut_after": 2}),
            "error",
            Some("engine_failed"),
            Status::error(""),
        ),
        (
            true,
            term.clone(),
            "content_filter",
            Some("content_stopped"),
            Status::Unset,
        ),
        (
            false,
            term,
            "content_filter",
            Some("content_stopped"),
            Status::Unset,
        ),
    ] {
        call(&world, &chat(stream, script)).await.unwrap();
        let call = spans.call().await;
        let reasons = Value::Array(Array::String(vec![reason.into()]));
        let told = value(&call, "gen_ai.response.finish_reasons");
        assert_eq!(told, Some(reasons), "stream: {stream}");
        assert_eq!(value(&call, "error.type"), error.map(Value::from));
        assert_eq!(call.status, status);
    }
}

#[sqlx::test]
async fn a_model_that_there_is_not_gives_no_name_and_what_did_not_begin_has_no_reason(
    pool: PgPool,
) {
    let (spans, _collecting) = Exported::collected();
    let world = World::start(pool).await;
    let mut unknown = chat(true, json!({}));
    unknown["model"] = json!("nobody-knows");
    let unwell = chat(true, json!({"status": 500}));
    for (body, name, error) in [
        (unknown, "chat", "MODEL_NOT_FOUND"),
        (unwell, "chat test", "engine_failed"),
    ] {
        call(&world, &body).await.unwrap_err();
        let call = spans.call().await;
        assert_eq!(call.name, name);
        assert_eq!(value(&call, "error.type"), Some(error.into()));
        let asked = body["model"].as_str().unwrap().to_owned();
        assert_eq!(value(&call, "gen_ai.request.model"), Some(asked.into()));
        assert_eq!(value(&call, "gen_ai.response.finish_reasons"), None);
    }
}
