//! Calls whose engine does not say what they used, counted by the model's tokenizer.

use std::path::{Path, PathBuf};

use futures::StreamExt;
use inference_routing::{config::Sections, domain::shape::Shape, tokenizer::Tokenizer};
use serde_json::{Value, json};
use sqlx::PgPool;
use tempfile::NamedTempFile;

use crate::world::{World, all_shapes, chat, engine::PROMPT_TOKENS, rows, wait_for};

/// A tokenizer that makes a token of each character.
fn by_character() -> NamedTempFile {
    let tokenizer = json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [],
        "normalizer": null, "post_processor": null, "decoder": null,
        "pre_tokenizer": {"type": "Split", "pattern": {"Regex": "(?s)."},
            "behavior": "Isolated", "invert": false},
        "model": {"type": "WordLevel", "vocab": {"?": 0}, "unk_token": "?"},
    });
    let file = NamedTempFile::new().unwrap();
    std::fs::write(file.path(), tokenizer.to_string()).unwrap();
    file
}

fn with(file: &NamedTempFile) -> impl Fn(&mut Sections) {
    let path = file.path().to_owned();
    move |config| config.models[0].tokenizer_file = Some(path.clone())
}

/// What a call that the engine says nothing of is billed: input, output, source.
async fn billed(world: &World, body: &Value) -> (i64, i64, String) {
    let got = world.call(body).await.unwrap();
    let row = rows::ended(&world.pool, &got.call_id).await;
    (
        row.input_tokens,
        row.output_tokens,
        row.usage_source.unwrap(),
    )
}

#[sqlx::test]
async fn what_no_engine_counted_the_models_tokenizer_counts(pool: PgPool) {
    let file = by_character();
    let world = World::with(pool, with(&file)).await;
    let script = json!({"text": ["你好", "世界"], "no_usage": true});
    for stream in [true, false] {
        let billed = billed(&world, &chat(stream, script.clone())).await;
        // "你好，请回答" and "你好世界", by character.
        assert_eq!(billed, (6, 4, "tokenizer".to_owned()), "stream: {stream}");
    }
    let cut = json!({"tokens": 9, "cut_after": 2, "no_usage": true});
    let cut = billed(&world, &chat(true, cut)).await;
    assert_eq!(
        cut,
        (6, "词0 词1 ".chars().count() as i64, "tokenizer".to_owned())
    );
}

#[sqlx::test]
async fn the_tokenizer_counts_answers_of_the_other_shapes_too(pool: PgPool) {
    let file = by_character();
    let world = World::with(pool.clone(), |config| {
        all_shapes(config);
        with(&file)(config);
    })
    .await;
    let completion = |text: &str, finish: Value| {
        json!({"choices": [{"index": 0, "text": text, "finish_reason": finish}]}).to_string()
    };
    let delta = json!({"type": "response.output_text.delta", "item_id": "i", "output_index": 0,
        "content_index": 0, "delta": "你好"});
    let output = json!([{"type": "message", "id": "i", "role": "assistant",
        "content": [{"type": "output_text", "text": "你好", "annotations": []}]}]);
    let whole = json!({"id": "r", "status": "completed", "output": output});
    let done = json!({"type": "response.completed", "response": whole});
    let cases = [
        (
            Shape::Completions,
            false,
            vec![completion("你好", json!("stop"))],
        ),
        (
            Shape::Completions,
            true,
            vec![
                completion("你", Value::Null),
                completion("好", json!("stop")),
                "[DONE]".to_owned(),
            ],
        ),
        (Shape::Responses, false, vec![whole.to_string()]),
        (
            Shape::Responses,
            true,
            vec![delta.to_string(), done.to_string()],
        ),
    ];
    for (shape, stream, says) in cases {
        let script = json!({"verbatim": says});
        let body = match shape {
            Shape::Completions => json!({"model": "test", "prompt": "请回答", "max_tokens": 9,
                "stream": stream, "wanwu_script": script}),
            _ => json!({"model": "test", "input": "请回答", "max_output_tokens": 9, "store": false,
                "stream": stream, "wanwu_script": script}),
        };
        let got = world.call_as(shape, &body).await.unwrap();
        assert_eq!(got.error, None, "{shape:?}");
        let row = rows::ended(&pool, &got.call_id).await;
        let counted = (
            row.input_tokens,
            row.output_tokens,
            row.usage_source.as_deref(),
        );
        assert_eq!(
            counted,
            (3, 2, Some("tokenizer")),
            "{shape:?}, stream: {stream}"
        );
    }
}

#[sqlx::test]
async fn the_tokenizer_counts_what_is_embedded_and_tokens_count_as_they_stand(pool: PgPool) {
    let file = by_character();
    let world = World::with(pool.clone(), |config| {
        with(&file)(config);
        // The model of embeddings is made like the first, its tokenizer too.
        all_shapes(config);
    })
    .await;
    let answer = |usage: Value| {
        let vector = json!({"object": "embedding", "index": 0, "embedding": [0.5]});
        json!({"object": "list", "data": [vector], "usage": usage}).to_string()
    };
    let (silent, says) = (answer(Value::Null), answer(json!({"prompt_tokens": 5})));
    let cases = [
        (&silent, json!("请回答"), (3, "tokenizer")),
        (&silent, json!(["你好", "world"]), (7, "tokenizer")),
        (&silent, json!([101, 20_232, 102]), (3, "tokenizer")),
        (&silent, json!([[101, 20_232], [7], []]), (3, "tokenizer")),
        (&says, json!("请回答"), (5, "engine")),
    ];
    for (answer, input, (tokens, source)) in cases {
        let script = json!({"verbatim": [answer]});
        let body = json!({"model": "vectors", "input": input, "wanwu_script": script});
        let got = world.call_as(Shape::Embeddings, &body).await.unwrap();
        let row = rows::ended(&pool, &got.call_id).await;
        let counted = (row.input_tokens, row.usage_source.as_deref());
        assert_eq!(counted, (tokens, Some(source)), "{input}");
        assert_eq!(row.output_tokens, 0);
    }
}

#[sqlx::test]
async fn an_answer_without_a_word_costs_its_prompt_by_the_tokenizer(pool: PgPool) {
    let file = by_character();
    let world = World::with(pool, with(&file)).await;
    for stream in [true, false] {
        let empty = chat(stream, json!({"text": [], "no_usage": true}));
        let billed = billed(&world, &empty).await;
        assert_eq!(billed, (6, 0, "tokenizer".to_owned()), "stream: {stream}");
    }
}

#[sqlx::test]
async fn an_engine_that_counts_is_believed_before_a_tokenizer(pool: PgPool) {
    let file = by_character();
    let world = World::with(pool, with(&file)).await;
    for stream in [true, false] {
        let billed = billed(&world, &chat(stream, json!({"tokens": 3}))).await;
        assert_eq!(billed, (PROMPT_TOKENS as i64, 3, "engine".to_owned()));
    }
}

#[sqlx::test]
async fn without_a_tokenizer_it_is_estimated(pool: PgPool) {
    let world = World::start(pool).await;
    let script = json!({"tokens": 3, "no_usage": true});
    let (_, output, source) = billed(&world, &chat(true, script)).await;
    assert_eq!((output, source.as_str()), (3, "estimate"));
}

#[sqlx::test]
async fn a_client_that_left_pays_what_it_was_sent_by_the_tokenizer(pool: PgPool) {
    let file = by_character();
    let world = World::with(pool.clone(), with(&file)).await;
    let script = json!({"tokens": 50, "hang_after": 4, "no_usage": true});
    let mut reply = world.begin(&chat(true, script)).await.unwrap();
    let call = reply.call_id.to_string();
    for _ in 0..4 {
        reply.next().await.unwrap().unwrap();
    }
    drop(reply);
    wait_for("the end", async || {
        rows::find(&pool, &call)
            .await
            .is_some_and(|row| row.outcome == 2)
    })
    .await;
    let row = rows::ended(&pool, &call).await;
    assert_eq!((row.input_tokens, row.output_tokens), (6, 12));
    assert_eq!(row.usage_source.as_deref(), Some("tokenizer"));
}

#[sqlx::test]
async fn a_tokenizer_that_counts_more_than_was_held_is_cut_down(pool: PgPool) {
    let file = by_character();
    let world = World::with(pool, with(&file)).await;
    let mut body = chat(true, json!({"tokens": 3, "no_usage": true}));
    body["max_tokens"] = json!(4);
    let (_, output, _) = billed(&world, &body).await;
    assert_eq!(output, 4, "nine characters, and four tokens were held");
}

#[sqlx::test]
async fn a_router_does_not_start_on_a_file_that_is_no_tokenizer(_: PgPool) {
    let file = NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "{}").unwrap();
    let mut config = crate::world::config(&["http://127.0.0.1:1"]);
    with(&file)(&mut config);
    let refused = inference_routing::catalogue::Catalogue::build(&config, None, false);
    let refused = refused.unwrap_err().to_string();
    assert!(refused.contains("tokenizer_file"), "{refused}");
}

/// The metadata of a GGUF file: strings, arrays of strings, arrays of numbers.
fn gguf(keys: &[(&str, Value)]) -> Vec<u8> {
    fn string(out: &mut Vec<u8>, text: &str) {
        out.extend((text.len() as u64).to_le_bytes());
        out.extend(text.as_bytes());
    }
    let mut out = b"GGUF".to_vec();
    out.extend(3_u32.to_le_bytes());
    out.extend(0_u64.to_le_bytes());
    out.extend((keys.len() as u64).to_le_bytes());
    for (key, value) in keys {
        string(&mut out, key);
        let Some(items) = value.as_array() else {
            out.extend(8_u32.to_le_bytes());
            string(&mut out, value.as_str().unwrap());
            continue;
        };
        let of_strings = items[0].is_string();
        out.extend(9_u32.to_le_bytes());
        out.extend(if of_strings { 8_u32 } else { 5 }.to_le_bytes());
        out.extend((items.len() as u64).to_le_bytes());
        for item in items {
            match item.as_str() {
                Some(text) => string(&mut out, text),
                None => out.extend((item.as_i64().unwrap() as i32).to_le_bytes()),
            }
        }
    }
    out
}

fn make(folder: &Path, split: &str) -> (bool, PathBuf) {
    let model = folder.join("model.gguf");
    let tokens = json!(["a", "b", "ab", "Ġ", "<|end|>", "[PAD]"]);
    let metadata = gguf(&[
        ("tokenizer.ggml.model", json!("gpt2")),
        ("tokenizer.ggml.pre", json!(split)),
        ("tokenizer.ggml.tokens", tokens),
        ("tokenizer.ggml.token_type", json!([1, 1, 1, 1, 3, 5])),
        ("tokenizer.ggml.merges", json!(["a b"])),
    ]);
    std::fs::write(&model, metadata).unwrap();
    let script = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../scripts/lib/gguf_tokenizer.py"
    );
    let made = folder.join("model.tokenizer.json");
    let run = std::process::Command::new("python3")
        .arg(script)
        .args([&model, &made])
        .output()
        .unwrap();
    (run.status.success(), made)
}

#[test]
fn a_models_own_file_makes_its_tokenizer() {
    let folder = tempfile::tempdir().unwrap();
    let (done, made) = make(folder.path(), "qwen2");
    assert!(done);
    let tokenizer = Tokenizer::load(&made).unwrap();
    let count = |text: &str| tokenizer.count(&[text.to_owned()]);
    assert_eq!(count("ab"), Some(1), "merged");
    assert_eq!(count("ab a<|end|>"), Some(4), "ab, a blank, a, the end");
    assert_eq!(count(""), Some(0));

    let folder = tempfile::tempdir().unwrap();
    let (done, made) = make(folder.path(), "unheard-of");
    assert!(!done && !made.exists(), "no guess");
}
