//! Field by field: what a client sends reaches the engine byte for byte, or is refused with a
//! reason; and what an engine answers reaches the client.

mod conversations;
mod shapes;
mod streams;

use bytes::Bytes;
use inference_routing::{Error, domain::request_body::BodyError, domain::shape::Shape};
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::world::{World, all_shapes, chat, read};
use conversations::{ITEMS, MESSAGES};
use shapes::{CHAT, COMPLETIONS, EMBEDDINGS, REFUSED, RESPONSES};

/// A request with one field more, and what the engine is to answer.
fn body(shape: Shape, name: &str, value: &str) -> String {
    let whole = match shape {
        Shape::Chat => r#"{\"choices\":[{\"message\":{\"content\":\"a\"}}]}"#,
        Shape::Completions => r#"{\"choices\":[{\"text\":\"a\"}]}"#,
        Shape::Responses => r#"{\"output\":[]}"#,
        Shape::Embeddings => r#"{\"data\":[]}"#,
    };
    let (model, prompt) = match shape {
        Shape::Chat => (
            "test",
            r#""messages":[{"role":"user","content":"hi"}],"max_tokens":3"#,
        ),
        Shape::Completions => ("test", r#""prompt":"hi", "max_tokens":3"#),
        Shape::Responses if name == "store" => ("test", r#""input":"hi","max_output_tokens":3"#),
        Shape::Responses => (
            "test",
            r#""input":"hi","max_output_tokens":3,"store":false"#,
        ),
        Shape::Embeddings => ("vectors", r#""input":"hi""#),
    };
    format!(
        r#"{{ "model" : "{model}", {prompt}, "{name}": {value} , "wanwu_script":{{"verbatim":["{whole}"]}} }}"#
    )
}

async fn arrives(world: &World, shape: Shape, fields: &[(&str, &str)]) {
    for (name, value) in fields {
        let body = body(shape, name, value);
        let mut request = world.request(&Value::Null);
        request.shape = shape;
        request.body = Bytes::from(body.clone());
        let reply = world.app.chat.create(request).await;
        let reply = reply.unwrap_or_else(|error| panic!("{name}: {error}"));
        let call = reply.call_id.to_string();
        let got = read(reply).await;
        assert_eq!(got.error, None, "{name}");
        let sent = world.engine.seen(&call).unwrap().body;
        let expected = body
            .replace(r#""test""#, r#""engine-test""#)
            .replace(r#""vectors""#, r#""engine-test""#);
        assert_eq!(String::from_utf8_lossy(&sent), expected, "{name}");
    }
}

#[sqlx::test]
async fn every_field_of_chat_reaches_the_engine_as_it_is(pool: PgPool) {
    let world = World::with(pool, all_shapes).await;
    arrives(&world, Shape::Chat, &CHAT).await;
}

#[sqlx::test]
async fn every_field_of_the_other_shapes_reaches_the_engine_as_it_is(pool: PgPool) {
    let world = World::with(pool, all_shapes).await;
    arrives(&world, Shape::Completions, &COMPLETIONS).await;
    arrives(&world, Shape::Responses, &RESPONSES).await;
    arrives(&world, Shape::Embeddings, &EMBEDDINGS).await;
}

#[sqlx::test]
async fn every_field_of_a_message_reaches_the_engine_as_it_is(pool: PgPool) {
    let world = with_images(pool).await;
    let script =
        r#""wanwu_script":{"verbatim":["{\"choices\":[{\"message\":{\"content\":\"a\"}}]}"]}"#;
    for messages in MESSAGES {
        let fields = format!(r#""messages" :{messages}, "max_tokens":3, {script}"#);
        passes(&world, Shape::Chat, messages, &fields).await;
    }
}

#[sqlx::test]
async fn every_field_of_a_responses_input_reaches_the_engine_as_it_is(pool: PgPool) {
    let world = with_images(pool).await;
    let script = r#""wanwu_script":{"verbatim":["{\"output\":[]}"]}"#;
    for input in ITEMS {
        let fields = format!(r#""store":false, "input" :{input}, "max_output_tokens":3, {script}"#);
        passes(&world, Shape::Responses, input, &fields).await;
    }
}

/// A router whose model takes images.
async fn with_images(pool: PgPool) -> World {
    World::with(pool, |config| {
        all_shapes(config);
        config.models[0].image_tokens = Some(100);
    })
    .await
}

/// A request with these fields is answered, and the engine finds all but the model's name as it was.
async fn passes(world: &World, shape: Shape, name: &str, fields: &str) {
    let mut request = world.request(&Value::Null);
    request.shape = shape;
    request.body = Bytes::from(format!(r#"{{"model": "test" , {fields}}}"#));
    let reply = world.app.chat.create(request).await;
    let reply = reply.unwrap_or_else(|error| panic!("{name}: {error}"));
    let call = reply.call_id.to_string();
    assert_eq!(read(reply).await.error, None, "{name}");
    let sent = world.engine.seen(&call).unwrap().body;
    let expected = format!(r#"{{"model": "engine-test" , {fields}}}"#);
    assert_eq!(String::from_utf8_lossy(&sent), expected, "{name}");
}

#[sqlx::test]
async fn a_field_that_does_not_pass_is_refused_with_its_reason(pool: PgPool) {
    let world = World::with(pool, all_shapes).await;
    for (shape, name, value, reason) in REFUSED {
        let mut request = world.request(&Value::Null);
        request.shape = shape;
        request.body = Bytes::from(body(shape, name, value));
        let refused = world.app.chat.create(request).await;
        let Err(error) = refused else {
            panic!("{name} was taken")
        };
        let got = wanwu_grpc::Failure::reason(&error);
        assert_eq!(got.trim_start_matches("ERROR_REASON_"), reason, "{name}");
        let Error::Body(
            BodyError::Invalid { field, .. }
            | BodyError::UnboundedCost { field }
            | BodyError::StateNotKept { field },
        ) = error
        else {
            panic!("{name}: {error}")
        };
        assert!(field.starts_with(name), "{name}: {field}");
    }
    assert_eq!(world.engine.calls(), 0);
}

#[sqlx::test]
async fn tool_calls_log_probabilities_and_several_answers_reach_the_client(pool: PgPool) {
    let world = World::with(pool, |config| config.models[0].engine_model = None).await;
    let calls = json!([{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{\"a\":1.0}"}}]);
    let logprobs =
        json!({"content": [{"token": "a", "logprob": -0.25, "bytes": [97], "top_logprobs": []}]});
    let whole = json!({"id": "x", "object": "chat.completion", "model": "test", "service_tier": "default",
        "choices": [
            {"index": 0, "message": {"role": "assistant", "content": null, "tool_calls": calls}, "logprobs": null, "finish_reason": "tool_calls"},
            {"index": 1, "message": {"role": "assistant", "content": "a", "annotations": []}, "logprobs": logprobs, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 9, "completion_tokens": 7, "completion_tokens_details": {"reasoning_tokens": 0}},
        "system_fingerprint": "fp"});
    let mut body = chat(false, json!({"verbatim": [whole.to_string()]}));
    body["n"] = json!(2);
    let got = world.call(&body).await.unwrap();
    assert_eq!(without_label(&got.raw[0]), whole.to_string());

    let chunk = |choice: Value| {
        json!({"id": "x", "object": "chat.completion.chunk", "model": "test", "choices": [choice]})
            .to_string()
    };
    let delta = json!({"tool_calls": [{"index": 0, "id": "c", "function": {"name": "f", "arguments": "{\"a\""}}]});
    let chunks = [
        chunk(
            json!({"index": 0, "delta": {"role": "assistant", "content": null}, "finish_reason": null}),
        ),
        chunk(json!({"index": 0, "delta": delta, "finish_reason": null})),
        chunk(
            json!({"index": 1, "delta": {"content": "a"}, "logprobs": logprobs, "finish_reason": null}),
        ),
        chunk(json!({"index": 0, "delta": {}, "finish_reason": "tool_calls"})),
        chunk(json!({"index": 1, "delta": {}, "finish_reason": "stop"})),
    ];
    let mut script = chunks.to_vec();
    script.push("[DONE]".to_owned());
    let mut body = chat(true, json!({"verbatim": script}));
    body["n"] = json!(2);
    let got = world.call(&body).await.unwrap();
    let bare: Vec<_> = got.raw.iter().map(|json| without_label(json)).collect();
    assert_eq!(bare, chunks);
}

/// The JSON without the label, which is its last member.
fn without_label(json: &str) -> String {
    match json.find(",\"aigc\":{") {
        Some(at) => format!("{}}}", &json[..at]),
        None => json.to_owned(),
    }
}
