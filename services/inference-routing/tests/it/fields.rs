//! Field by field: what a client sends reaches the engine byte for byte, or is refused with a
//! reason; and what an engine answers reaches the client.

mod conversations;

use bytes::Bytes;
use inference_routing::{Error, domain::request_body::BodyError, domain::shape::Shape};
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::world::{World, all_shapes, chat, read};
use conversations::{ITEMS, MESSAGES};

/// Fields of the chat completions API, and of engines beside it, with values as odd as they may be.
const CHAT: [(&str, &str); 74] = [
    ("audio", "null"),
    ("frequency_penalty", "0.50"),
    ("function_call", r#"{"name":"f"}"#),
    ("functions", r#"[{"name":"f","parameters":{}}]"#),
    ("logit_bias", r#"{"50256": -100}"#),
    ("logprobs", "true"),
    ("max_completion_tokens", "3"),
    ("metadata", r#"{"k":"\u4f60"}"#),
    ("modalities", r#"["text"]"#),
    ("n", "2"),
    ("parallel_tool_calls", "false"),
    ("prediction", r#"{"type":"content","content":"ab"}"#),
    ("presence_penalty", "-2.0"),
    ("prompt_cache_key", r#""k""#),
    ("prompt_cache_retention", r#""24h""#),
    ("reasoning_effort", r#""low""#),
    (
        "response_format",
        r#"{"type":"json_schema","json_schema":{"name":"s","strict":true,"schema":{"type":"object","properties":{"a":{"type":"number"}}}}}"#,
    ),
    ("safety_identifier", r#""u-1""#),
    ("seed", "9007199254740993"),
    ("service_tier", r#""flex""#),
    ("stop", r#"["\n", "结束"]"#),
    ("store", "false"),
    ("temperature", "1e-1"),
    (
        "tool_choice",
        r#"{"type":"function","function":{"name":"f"}}"#,
    ),
    (
        "tools",
        r#"[{"type":"function","function":{"name":"f","strict":true,"parameters":{"type":"object"}}},{"type":"custom","custom":{"name":"c"}}]"#,
    ),
    ("top_logprobs", "5"),
    ("top_p", "0.9000"),
    ("user", r#""u""#),
    ("verbosity", r#""low""#),
    ("web_search_options", "null"),
    // vLLM.
    ("add_generation_prompt", "true"),
    ("add_special_tokens", "false"),
    ("allowed_token_ids", "[1,2]"),
    ("bad_words", r#"["x"]"#),
    ("best_of", "2"),
    ("cache_salt", r#""s""#),
    ("chat_template", "null"),
    ("chat_template_kwargs", r#"{"enable_thinking":false}"#),
    ("continue_final_message", "false"),
    ("documents", r#"[{"title":"t","text":"x"}]"#),
    ("echo", "false"),
    ("guided_choice", r#"["a","b"]"#),
    ("guided_decoding_backend", r#""xgrammar""#),
    ("guided_grammar", r#""root ::= \"a\"""#),
    ("guided_json", r#"{"type":"object"}"#),
    ("guided_regex", r#""\\d+""#),
    ("guided_whitespace_pattern", r#""[ ]""#),
    ("ignore_eos", "true"),
    ("include_reasoning", "true"),
    ("include_stop_str_in_output", "true"),
    ("length_penalty", "1.0"),
    ("logits_processors", "[]"),
    ("min_p", "0.05"),
    ("min_tokens", "1"),
    ("mm_processor_kwargs", r#"{"num_crops":4}"#),
    ("prompt_logprobs", "1"),
    ("repetition_penalty", "1.10"),
    ("return_token_ids", "true"),
    ("return_tokens_as_token_ids", "true"),
    ("skip_special_tokens", "true"),
    ("spaces_between_special_tokens", "true"),
    ("stop_token_ids", "[7]"),
    ("structured_outputs", r#"{"json":{"type":"object"}}"#),
    ("top_k", "20"),
    ("truncate_prompt_tokens", "100"),
    ("use_beam_search", "false"),
    ("vllm_xargs", r#"{"a":"b"}"#),
    // SGLang and llama.cpp.
    ("custom_params", r#"{"a":1}"#),
    ("ebnf", r#""root ::= \"a\"""#),
    ("lora_path", r#""adapter""#),
    ("regex", r#""a+""#),
    ("separate_reasoning", "true"),
    ("cache_prompt", "true"),
    // Of tomorrow.
    ("something_new", r#"{"nested" : [1.50, null, "\u4e09"]}"#),
];

const COMPLETIONS: [(&str, &str); 16] = [
    ("best_of", "2"),
    ("echo", "true"),
    ("frequency_penalty", "0.50"),
    ("logit_bias", r#"{"50256": -100}"#),
    ("logprobs", "5"),
    ("n", "2"),
    ("presence_penalty", "1"),
    ("seed", "7"),
    ("stop", r#""\n""#),
    ("suffix", r#"" end""#),
    ("temperature", "0"),
    ("top_p", "0.9000"),
    ("user", r#""u""#),
    ("guided_json", r#"{"type":"object"}"#),
    ("ignore_eos", "true"),
    ("something_new", r#"[1.50, "\u4e09"]"#),
];

const RESPONSES: [(&str, &str); 25] = [
    ("background", "false"),
    ("conversation", "null"),
    (
        "include",
        r#"["message.output_text.logprobs","reasoning.encrypted_content"]"#,
    ),
    ("instructions", r#""be \u77ed""#),
    ("max_tool_calls", "3"),
    ("metadata", r#"{"k":"v"}"#),
    ("parallel_tool_calls", "true"),
    ("previous_response_id", "null"),
    ("prompt", "null"),
    ("prompt_cache_key", r#""k""#),
    ("reasoning", r#"{"effort":"low","summary":"auto"}"#),
    ("safety_identifier", r#""u""#),
    ("service_tier", r#""auto""#),
    ("stream_options", r#"{"include_obfuscation":false}"#),
    ("temperature", "0.20"),
    (
        "text",
        r#"{"format":{"type":"json_schema","name":"s","schema":{"type":"object"}},"verbosity":"low"}"#,
    ),
    ("tool_choice", r#""auto""#),
    (
        "tools",
        r#"[{"type":"function","name":"f","parameters":{},"strict":true},{"type":"custom","name":"c"}]"#,
    ),
    ("top_logprobs", "2"),
    ("top_p", "1.0"),
    ("truncation", r#""auto""#),
    ("user", r#""u""#),
    ("top_k", "20"),
    ("repetition_penalty", "1.10"),
    ("something_new", r#"{"a" : 1.50}"#),
];

const EMBEDDINGS: [(&str, &str); 8] = [
    ("dimensions", "256"),
    ("encoding_format", r#""base64""#),
    ("user", r#""u""#),
    ("input_type", r#""query""#),
    ("truncate_prompt_tokens", "512"),
    ("normalize", "true"),
    ("stream", "false"),
    ("something_new", r#"[1.50, "\u4e09"]"#),
];

/// Fields that are refused, and why.
const REFUSED: [(Shape, &str, &str, &str); 17] = [
    (
        Shape::Chat,
        "chat_template",
        r#""{% for %}""#,
        "UNBOUNDED_COST",
    ),
    (Shape::Chat, "web_search_options", "{}", "UNBOUNDED_COST"),
    (
        Shape::Chat,
        "tools",
        r#"[{"type":"web_search"}]"#,
        "UNBOUNDED_COST",
    ),
    (Shape::Chat, "store", "true", "STATE_NOT_KEPT"),
    (
        Shape::Chat,
        "modalities",
        r#"["text","audio"]"#,
        "INVALID_BODY",
    ),
    (Shape::Chat, "audio", r#"{"voice":"alloy"}"#, "INVALID_BODY"),
    (Shape::Chat, "n", "129", "INVALID_BODY"),
    (Shape::Completions, "best_of", "129", "INVALID_BODY"),
    (
        Shape::Completions,
        "prompt_embeds",
        r#""AAAA""#,
        "INVALID_BODY",
    ),
    (Shape::Responses, "store", "true", "STATE_NOT_KEPT"),
    (Shape::Responses, "background", "true", "STATE_NOT_KEPT"),
    (
        Shape::Responses,
        "previous_response_id",
        r#""resp_1""#,
        "STATE_NOT_KEPT",
    ),
    (
        Shape::Responses,
        "conversation",
        r#""conv_1""#,
        "STATE_NOT_KEPT",
    ),
    (
        Shape::Responses,
        "prompt",
        r#"{"id":"p"}"#,
        "STATE_NOT_KEPT",
    ),
    (
        Shape::Responses,
        "tools",
        r#"[{"type":"file_search"}]"#,
        "UNBOUNDED_COST",
    ),
    (Shape::Embeddings, "stream", "true", "INVALID_BODY"),
    (
        Shape::Embeddings,
        "prompt_embeds",
        r#""AAAA""#,
        "INVALID_BODY",
    ),
];

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
async fn every_field_of_a_stream_reaches_the_engine_as_it_is(pool: PgPool) {
    let world = World::with(pool, all_shapes).await;
    let script = r#""wanwu_script":{"verbatim":["{\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"},\"finish_reason\":\"stop\"}]}","[DONE]"]}"#;
    let prompt = r#""messages":[{"role":"user","content":"hi"}],"max_tokens":3"#;
    let stream = r#""stream" : true, "stream_options":{"include_usage":true}"#;
    for (name, value) in CHAT {
        let fields = format!(r#"{prompt}, {stream}, "{name}": {value} , {script}"#);
        passes(&world, Shape::Chat, name, &fields).await;
    }
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
