//! Fields of requests that ask for a stream, whose bodies are changed where usage is asked for.

use inference_routing::domain::shape::Shape;
use sqlx::PgPool;

use super::{CHAT, COMPLETIONS, RESPONSES, passes};
use crate::{
    shapes::{events, verbatim},
    world::{World, all_shapes},
};

/// The stream and its usage, as the engine is asked for them in any case.
const STREAM: &str = r#""stream" : true, "stream_options":{"include_usage":true}"#;

#[sqlx::test]
async fn every_field_of_a_stream_reaches_the_engine_as_it_is(pool: PgPool) {
    let world = World::with(pool, all_shapes).await;
    let script = r#""wanwu_script":{"verbatim":["{\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"},\"finish_reason\":\"stop\"}]}","[DONE]"]}"#;
    let prompt = r#""messages":[{"role":"user","content":"hi"}],"max_tokens":3"#;
    for (name, value) in CHAT {
        let fields = format!(r#"{prompt}, {STREAM}, "{name}": {value} , {script}"#);
        passes(&world, Shape::Chat, name, &fields).await;
    }
}

#[sqlx::test]
async fn every_field_of_a_streamed_completion_reaches_the_engine_as_it_is(pool: PgPool) {
    let world = World::with(pool, all_shapes).await;
    let script = r#""wanwu_script":{"verbatim":["{\"choices\":[{\"index\":0,\"text\":\"a\",\"finish_reason\":\"stop\"}]}","[DONE]"]}"#;
    let prompt = r#""prompt":"hi", "max_tokens":3"#;
    for (name, value) in COMPLETIONS {
        let fields = format!(r#"{prompt}, {STREAM}, "{name}": {value} , {script}"#);
        passes(&world, Shape::Completions, name, &fields).await;
    }
}

#[sqlx::test]
async fn every_field_of_a_streamed_response_reaches_the_engine_as_it_is(pool: PgPool) {
    let world = World::with(pool, all_shapes).await;
    // Its last event tells its usage unasked: `stream_options` are the client's.
    let prompt = r#""input":"hi","max_output_tokens":3,"store":false, "stream" : true"#;
    let script = verbatim(&events(&["a"]));
    for (name, value) in RESPONSES {
        let fields = format!(r#"{prompt}, "{name}": {value} , "wanwu_script": {script}"#);
        passes(&world, Shape::Responses, name, &fields).await;
    }
}
