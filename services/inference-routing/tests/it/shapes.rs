//! Completions, responses and embeddings go the way of chat.

use inference_routing::{Error, domain::request_body::BodyError, domain::shape::Shape};
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::world::{Got, World, all_shapes, chat, rows};

pub fn verbatim(documents: &[Value]) -> Value {
    let texts: Vec<String> = documents.iter().map(Value::to_string).collect();
    json!({"verbatim": texts})
}

pub fn completion(stream: bool, script: &Value) -> Value {
    json!({"model": "test", "prompt": "从前", "stream": stream, "wanwu_script": script})
}

pub fn response(stream: bool, script: &Value) -> Value {
    json!({"model": "test", "input": "你好", "stream": stream, "wanwu_script": script})
}

fn embeddings(input: &Value, script: &Value) -> Value {
    json!({"model": "vectors", "input": input, "wanwu_script": script})
}

/// The events of an answer that says these texts, with usage 5 and so many as there are.
pub fn events(texts: &[&str]) -> Vec<Value> {
    let object = |status: &str| json!({"id": "resp_1", "object": "response", "status": status, "model": "engine-test", "output": []});
    let mut events = vec![
        json!({"type": "response.created", "sequence_number": 0, "response": object("in_progress")}),
        json!({"type": "response.output_item.added", "output_index": 0, "item": {"type": "message", "content": []}}),
    ];
    for text in texts {
        events.push(json!({"type": "response.output_text.delta", "output_index": 0, "content_index": 0, "delta": text}));
    }
    events.push(json!({"type": "response.output_text.done", "output_index": 0, "content_index": 0, "text": texts.concat()}));
    let mut last = object("completed");
    last["output"] =
        json!([{"type": "message", "content": [{"type": "output_text", "text": texts.concat()}]}]);
    last["usage"] =
        json!({"input_tokens": 5, "output_tokens": texts.len(), "total_tokens": 5 + texts.len()});
    events.push(json!({"type": "response.completed", "sequence_number": 9, "response": last}));
    events
}

fn labels(got: &Got) -> Vec<bool> {
    let labelled = |frame: &Value| frame["aigc"]["ProduceID"] == got.call_id.as_str();
    got.frames.iter().map(labelled).collect()
}

async fn billed(pool: &PgPool, got: &Got) -> (i16, i64, i64) {
    let row = rows::ended(pool, &got.call_id).await;
    (row.outcome, row.input_tokens, row.output_tokens)
}

#[sqlx::test]
async fn a_completion_is_labelled_and_billed_streamed_and_whole(pool: PgPool) {
    let world = World::with(pool.clone(), all_shapes).await;
    let whole = json!({"id": "cmpl-1", "object": "text_completion", "model": "engine-test",
        "choices": [{"index": 0, "text": "有座山", "logprobs": {"tokens": ["有"]}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 4, "completion_tokens": 3}});
    let body = completion(false, &verbatim(std::slice::from_ref(&whole)));
    let got = world.call_as(Shape::Completions, &body).await.unwrap();
    let sent = world.engine.seen(&got.call_id).unwrap();
    assert_eq!(sent.path, "/v1/completions");
    let sent: Value = serde_json::from_slice(&sent.body).unwrap();
    // Without a limit it has OpenAI's own.
    assert_eq!(
        (&sent["max_tokens"], &sent["model"]),
        (&json!(16), &json!("engine-test"))
    );
    assert_eq!(got.frames[0]["choices"], whole["choices"]);
    assert_eq!(
        (got.frames[0]["model"].as_str(), labels(&got)),
        (Some("test"), vec![true])
    );
    assert_eq!(billed(&pool, &got).await, (1, 4, 3));

    let chunk = |text: &str, end: Value| {
        json!({"id": "c", "object": "text_completion", "model": "engine-test",
        "choices": [{"index": 0, "text": text, "finish_reason": end}]})
    };
    let usage = json!({"id": "c", "object": "text_completion", "model": "engine-test", "choices": [],
        "usage": {"prompt_tokens": 4, "completion_tokens": 2}});
    let chunks = [
        chunk("有", Value::Null),
        chunk("山", Value::Null),
        chunk("", json!("length")),
        usage,
    ];
    let mut script = verbatim(&chunks);
    script["verbatim"]
        .as_array_mut()
        .unwrap()
        .push("[DONE]".into());
    let got = world
        .call_as(Shape::Completions, &completion(true, &script))
        .await
        .unwrap();
    assert_eq!(labels(&got), [true, false, true]);
    assert_eq!(billed(&pool, &got).await, (1, 4, 2));
}

#[sqlx::test]
async fn prompts_and_the_best_of_several_are_held_for(pool: PgPool) {
    let world = World::with(pool.clone(), all_shapes).await;
    let whole = json!({"choices": [{"index": 0, "text": "a", "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 4, "completion_tokens": 60}});
    let mut body = completion(false, &verbatim(&[whole]));
    body["prompt"] = json!(["a", "b"]);
    body["best_of"] = json!(3);
    body["max_tokens"] = json!(10);
    let got = world.call_as(Shape::Completions, &body).await.unwrap();
    assert_eq!(billed(&pool, &got).await, (1, 4, 60), "2 prompts x 3 x 10");
    body["prompt"] = json!([[1, 2]]);
    let refused = world.call_as(Shape::Completions, &body).await;
    assert!(matches!(
        refused,
        Err(Error::Body(BodyError::Invalid { .. }))
    ));
}

#[sqlx::test]
async fn a_response_keeps_its_events_and_nothing_is_stored(pool: PgPool) {
    let world = World::with(pool.clone(), all_shapes).await;
    let sent = events(&["你", "好"]);
    let body = response(true, &verbatim(&sent));
    let got = world.call_as(Shape::Responses, &body).await.unwrap();
    let names: Vec<_> = sent.iter().map(|e| e["type"].as_str().unwrap()).collect();
    assert_eq!(got.events, names);
    assert_eq!(labels(&got), [true, false, false, false, false, true]);
    assert_eq!(got.raw[2], sent[2].to_string());
    assert_eq!(got.frames[0]["response"]["model"], "test");
    assert_eq!(got.frames[5]["response"]["usage"]["output_tokens"], 2);
    assert_eq!(billed(&pool, &got).await, (1, 5, 2));
    let seen = world.engine.seen(&got.call_id).unwrap();
    assert_eq!(seen.path, "/v1/responses");
    let asked: Value = serde_json::from_slice(&seen.body).unwrap();
    assert_eq!(
        (&asked["store"], &asked["max_output_tokens"]),
        (&json!(false), &json!(100))
    );
    assert!(asked.get("stream_options").is_none());

    let whole = sent[5]["response"].clone();
    let body = response(false, &verbatim(&[whole]));
    let got = world.call_as(Shape::Responses, &body).await.unwrap();
    assert_eq!(got.frames[0]["output"][0]["content"][0]["text"], "你好");
    assert_eq!(
        (labels(&got), billed(&pool, &got).await),
        (vec![true], (1, 5, 2))
    );
}

#[sqlx::test]
async fn a_response_that_the_screen_stops_ends_in_its_own_shape(pool: PgPool) {
    let world = World::with(pool.clone(), all_shapes).await;
    let (one, two) = "wanwu-demo-forbidden".split_at(9);
    // In parts, so that the screen of the request does not see it.
    let mut sent = events(&["好", one, two]);
    let whole = sent.pop().unwrap();
    sent.pop();
    let body = response(true, &verbatim(&sent));
    let got = world.call_as(Shape::Responses, &body).await.unwrap();
    assert_eq!(got.events.last().unwrap(), "response.incomplete");
    let last = got.frames.last().unwrap();
    assert_eq!(
        last["response"]["incomplete_details"]["reason"],
        "content_filter"
    );
    assert_eq!(last["aigc"]["ProduceID"], got.call_id.as_str());
    assert!(!got.raw.concat().contains(two));
    let (outcome, _, output) = billed(&pool, &got).await;
    assert_eq!((outcome, output), (4, 1), "what was sent is billed");
    // The request itself may not say it.
    let refused = world
        .call_as(
            Shape::Responses,
            &response(false, &verbatim(&[whole["response"].clone()])),
        )
        .await;
    assert!(matches!(refused, Err(Error::ContentRefused { .. })));
}

#[sqlx::test]
async fn a_response_without_its_last_event_was_cut(pool: PgPool) {
    let world = World::with(pool.clone(), all_shapes).await;
    let mut sent = events(&["你", "好"]);
    sent.pop();
    let mut script = verbatim(&sent);
    script["verbatim"]
        .as_array_mut()
        .unwrap()
        .push("[DONE]".into());
    let got = world
        .call_as(Shape::Responses, &response(true, &script))
        .await
        .unwrap();
    let error = got.error.as_ref().unwrap();
    assert_eq!(
        (&error["type"], &error["error"]["code"]),
        (&json!("error"), &json!("engine_failed"))
    );
    let (outcome, _, output) = billed(&pool, &got).await;
    assert_eq!((outcome, output), (3, 2));
}

#[sqlx::test]
async fn embeddings_cost_their_input_and_have_no_label(pool: PgPool) {
    let world = World::with(pool.clone(), all_shapes).await;
    let answer = json!({"object": "list", "model": "engine-test",
        "data": [{"object": "embedding", "index": 0, "embedding": "AACAPw=="}],
        "usage": {"prompt_tokens": 6, "total_tokens": 6}});
    let script = verbatim(std::slice::from_ref(&answer));
    let inputs = [
        json!("你好"),
        json!(["你好", "world"]),
        json!([1, 2, 3]),
        json!([[1, 2], [3]]),
    ];
    for input in inputs {
        let mut body = embeddings(&input, &script);
        body["encoding_format"] = json!("base64");
        let got = world.call_as(Shape::Embeddings, &body).await.unwrap();
        assert_eq!(got.frames[0]["data"], answer["data"]);
        assert_eq!(
            (got.frames[0]["model"].as_str(), labels(&got)),
            (Some("vectors"), vec![false])
        );
        assert_eq!(billed(&pool, &got).await, (1, 6, 0));
        let seen = world.engine.seen(&got.call_id).unwrap();
        assert_eq!(seen.path, "/v1/embeddings");
        let asked: Value = serde_json::from_slice(&seen.body).unwrap();
        assert_eq!(asked["input"], input);
        assert!(asked.get("max_tokens").is_none() && asked.get("store").is_none());
    }
    let silent = json!({"object": "list", "data": []});
    let body = embeddings(&json!("12345678"), &verbatim(&[silent]));
    let got = world.call_as(Shape::Embeddings, &body).await.unwrap();
    assert_eq!(
        billed(&pool, &got).await,
        (1, 3, 0),
        "a quarter of ten bytes"
    );
    let many = json!(vec!["a"; 2049]);
    for input in [many, json!([]), json!({"a": 1}), json!(["a", 1])] {
        let refused = world
            .call_as(Shape::Embeddings, &embeddings(&input, &script))
            .await;
        assert!(
            matches!(refused, Err(Error::Body(BodyError::Invalid { .. }))),
            "{input}"
        );
    }
}

#[sqlx::test]
async fn a_shape_that_the_engines_do_not_know_is_refused_with_what_they_do(pool: PgPool) {
    let world = World::with(pool, |config| {
        all_shapes(config);
        config.models[0].shapes = Some(vec![Shape::Chat]);
    })
    .await;
    let refused = world
        .call_as(Shape::Responses, &response(false, &json!({})))
        .await;
    assert!(
        matches!(refused, Err(Error::ShapeNotServed { served, .. }) if served == [Shape::Chat])
    );
    let mut body = embeddings(&json!("a"), &json!({}));
    body["model"] = json!("test");
    let refused = world.call_as(Shape::Embeddings, &body).await;
    assert!(matches!(refused, Err(Error::ShapeNotServed { .. })));
    let mut body = chat(false, json!({}));
    body["model"] = json!("vectors");
    assert!(matches!(
        world.call(&body).await,
        Err(Error::ShapeNotServed { .. })
    ));
    assert_eq!(world.engine.calls(), 0);
}

#[sqlx::test]
async fn an_image_costs_what_its_model_makes_of_it_at_most(pool: PgPool) {
    let world = World::with(pool.clone(), all_shapes).await;
    let image = format!("data:image/png;base64,{}", "A".repeat(400_000));
    let part = |url: &str| json!({"type": "image_url", "image_url": {"url": url, "detail": "low"}});
    let body = |parts: Value| {
        let mut body = chat(false, json!({"tokens": 1}));
        body["messages"] = json!([{"role": "user", "content": parts}]);
        body
    };
    let refused = world.call(&body(json!([part(&image)]))).await;
    let Err(Error::Body(BodyError::UnboundedCost { field })) = refused else {
        panic!("{refused:?}")
    };
    assert_eq!(field, "messages.0.content.0.image_url");
    drop(world);

    let world = World::with(pool.clone(), |config| {
        config.models[0].image_tokens = Some(1000);
    })
    .await;
    // Two images of 400,000 bytes each are held for as 2,000 tokens.
    world.billing.set(world.caller.account_id, 20_000);
    let two = body(json!([part(&image), part(&image)]));
    let got = world.call(&two).await.unwrap();
    let sent = world.engine.seen(&got.call_id).unwrap().body;
    let sent: Value = serde_json::from_slice(&sent).unwrap();
    assert_eq!(sent["messages"], two["messages"]);
    let bound: i64 = sqlx::query_scalar("select input_bound from calls where call_id = $1::uuid")
        .bind(&got.call_id)
        .fetch_one(&pool)
        .await
        .unwrap();
    assert!((2000..3000).contains(&bound), "{bound}");

    let remote = world
        .call(&body(json!([part("https://example.com/a.png")])))
        .await;
    assert!(matches!(
        remote,
        Err(Error::Body(BodyError::RemoteImage { .. }))
    ));
    let mut larger = two;
    larger["mm_processor_kwargs"] = json!({"max_pixels": 1_000_000_000});
    let refused = world.call(&larger).await;
    assert!(matches!(
        refused,
        Err(Error::Body(BodyError::UnboundedCost { .. }))
    ));
}

#[sqlx::test]
async fn what_a_response_wants_kept_or_run_by_the_engine_is_refused(pool: PgPool) {
    let world = World::with(pool, all_shapes).await;
    let kept = [
        ("store", json!(true)),
        ("background", json!(true)),
        ("previous_response_id", json!("resp_1")),
        ("conversation", json!("conv_1")),
        ("prompt", json!({"id": "p"})),
        ("input", json!([{"type": "item_reference", "id": "m"}])),
        (
            "input",
            json!([{"role": "user", "content": [{"type": "input_image", "file_id": "f"}]}]),
        ),
    ];
    for (name, value) in kept {
        let mut body = response(false, &json!({}));
        body[name] = value;
        let refused = world.call_as(Shape::Responses, &body).await;
        assert!(
            matches!(refused, Err(Error::Body(BodyError::StateNotKept { .. }))),
            "{body}"
        );
    }
    let unbounded = [
        ("tools", json!([{"type": "web_search"}])),
        (
            "tools",
            json!([{"type": "mcp", "server_url": "https://example.com"}]),
        ),
        ("tools", json!([{"type": "code_interpreter"}])),
        ("input", json!([{"type": "web_search_call", "id": "w"}])),
        (
            "input",
            json!([{"role": "user", "content": [{"type": "input_file", "file_url": "https://example.com"}]}]),
        ),
        (
            "input",
            json!([{"type": "function_call_output", "call_id": "c", "output": [{"type": "input_file"}]}]),
        ),
        (
            "input",
            json!([{"role": "user", "content": [{"type": "input_image", "image_url": "data:,"}]}]),
        ),
    ];
    for (name, value) in unbounded {
        let mut body = response(false, &json!({}));
        body[name] = value;
        let refused = world.call_as(Shape::Responses, &body).await;
        assert!(
            matches!(refused, Err(Error::Body(BodyError::UnboundedCost { .. }))),
            "{body}"
        );
    }
    assert_eq!(world.engine.calls(), 0);
}
