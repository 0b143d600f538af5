//! Completions, responses and embeddings through the whole platform.

use integration_tests::journey::{Journey, nanos};
use serde_json::{Value, json};
use tonic::{Code, Response, Streaming, metadata::MetadataMap};
use wanwu_proto::inference::v1::{
    CreateCompletionRequest, CreateCompletionResponse, CreateEmbeddingRequest,
    CreateResponseRequest, CreateResponseResponse,
    completion_service_client::CompletionServiceClient, create_completion_response,
    create_embedding_response, create_response_response,
    embedding_service_client::EmbeddingServiceClient,
    response_service_client::ResponseServiceClient,
};

use crate::world::{bearing, customer, grpc, truth};

pub async fn ask(journey: &Journey, path: &str, body: &Value) -> reqwest::Response {
    let url = format!("{}/v1/{path}", journey.api().base());
    let request = journey.api().http().post(url).bearer_auth(journey.secret());
    request.json(body).send().await.unwrap()
}

/// A call costs so much, by what the engine counted.
async fn billed(journey: &Journey, call: &str, amount: i64) {
    let bill = journey.bill(call).await.unwrap();
    assert_eq!(nanos(&bill["amount"]), amount, "{bill}");
    assert_eq!(bill["usageSource"], "engine");
}

#[tokio::test]
async fn every_shape_is_billed_by_what_the_engine_counted() {
    let mut journey = customer().await;
    journey.key_for(&["chat", "embedding"]).await.unwrap();
    let (input, output) = journey.price("scripted").await.unwrap();
    let script = |tokens: u32| json!({"tokens": tokens});
    let cases = [
        (
            "completions",
            json!({"model": "scripted", "prompt": "从前", "wanwu_script": script(7)}),
            (2, 7),
        ),
        (
            "completions",
            json!({"model": "scripted", "prompt": "从前", "stream": true, "wanwu_script": script(9)}),
            (2, 9),
        ),
        (
            "responses",
            json!({"model": "scripted", "input": "你好吗", "wanwu_script": script(5)}),
            (3, 5),
        ),
        (
            "responses",
            json!({"model": "scripted", "input": "你好吗", "stream": true, "wanwu_script": script(11)}),
            (3, 11),
        ),
        (
            "embeddings",
            json!({"model": "scripted", "input": ["你好", "世界和平"]}),
            (6, 0),
        ),
    ];
    for (path, body, (read, written)) in cases {
        let answer = ask(&journey, path, &body).await;
        assert_eq!(answer.status(), 200, "{path}");
        let call = answer.headers()["wanwu-call-id"]
            .to_str()
            .unwrap()
            .to_owned();
        let text = answer.text().await.unwrap();
        let labels = text.matches("\"aigc\":{").count();
        let expected = match (path, body["stream"] == true) {
            ("embeddings", _) => 0,
            (_, true) => 2,
            (_, false) => 1,
        };
        assert_eq!(labels, expected, "{text}");
        assert_eq!(
            text.contains("[DONE]"),
            path == "completions" && expected == 2
        );
        billed(&journey, &call, read * input + written * output).await;
    }
}

#[tokio::test]
async fn a_client_that_leaves_a_response_stops_the_engine() {
    let journey = customer().await;
    let body = json!({"model": "scripted", "input": "你好", "stream": true,
        "wanwu_script": {"tokens": 500, "delay_ms": 10}});
    let mut answer = ask(&journey, "responses", &body).await;
    let call = answer.headers()["wanwu-call-id"]
        .to_str()
        .unwrap()
        .to_owned();
    let mut seen = Vec::new();
    while !String::from_utf8_lossy(&seen).contains("output_text.delta") {
        seen.extend_from_slice(&answer.chunk().await.unwrap().unwrap());
    }
    drop(answer);
    let bill = journey.bill(&call).await.unwrap();
    let truth = truth(&call).await;
    assert_eq!(truth["ending"], "cancelled");
    let sent = truth["tokens_sent"].as_i64().unwrap();
    let billed: i64 = bill["outputTokens"].as_str().unwrap().parse().unwrap();
    assert!((1..=sent).contains(&billed), "{billed} of {sent}");
}

/// A frame of a stream by gRPC, whatever its shape.
struct Frame {
    call_id: String,
    stream: bool,
    event: String,
    json: Value,
}

impl From<CreateCompletionResponse> for Frame {
    fn from(message: CreateCompletionResponse) -> Self {
        let Some(create_completion_response::Frame::Data(json)) = message.frame else {
            panic!("no data: {message:?}")
        };
        Self {
            call_id: message.call_id,
            stream: message.stream,
            event: String::new(),
            json: serde_json::from_slice(&json).unwrap(),
        }
    }
}

impl From<CreateResponseResponse> for Frame {
    fn from(message: CreateResponseResponse) -> Self {
        let Some(create_response_response::Frame::Data(json)) = message.frame else {
            panic!("no data: {message:?}")
        };
        Self {
            call_id: message.call_id,
            stream: message.stream,
            event: message.event,
            json: serde_json::from_slice(&json).unwrap(),
        }
    }
}

impl Frame {
    /// Its text, wherever its shape has it.
    fn text(&self) -> &str {
        let places = ["/choices/0/text", "/delta", "/output/0/content/0/text"];
        let mut texts = places.iter().filter_map(|place| self.json.pointer(place));
        texts.find_map(Value::as_str).unwrap_or_default()
    }
}

/// Reads an answer to its end, which says whose it is in its head, its trailers and its JSON.
async fn read<M: Into<Frame>>(answer: Response<Streaming<M>>) -> Vec<Frame> {
    let label = |metadata: &MetadataMap| {
        let label = metadata.get("wanwu-aigc").unwrap().to_str().unwrap();
        serde_json::from_str::<Value>(label).unwrap()
    };
    let at_first = label(answer.metadata());
    let mut messages = answer.into_inner();
    let mut frames = Vec::<Frame>::new();
    while let Some(message) = messages.message().await.unwrap() {
        frames.push(message.into());
    }
    let at_last = label(&messages.trailers().await.unwrap().unwrap());
    assert_eq!(at_first, at_last);
    let call = &frames[0].call_id;
    assert_eq!(at_first["ProduceID"], call.as_str());
    for (at, frame) in frames.iter().enumerate() {
        assert!(at == 0 || frame.call_id.is_empty());
        let is_end = at == 0 || at + 1 == frames.len();
        let labelled = frame.json["aigc"] == at_first;
        assert_eq!(labelled, is_end, "{}", frame.json);
    }
    frames
}

/// The tokens of an answer: the scripted engine's are characters.
fn characters(frames: &[Frame]) -> i64 {
    let characters = frames.iter().map(|frame| frame.text().chars().count());
    characters.sum::<usize>() as i64
}

#[tokio::test]
async fn completions_and_responses_are_answered_and_billed_by_grpc() {
    let journey = customer().await;
    let (input, output) = journey.price("scripted").await.unwrap();
    let channel = grpc().await;
    let mut completions = CompletionServiceClient::new(channel.clone());
    let mut responses = ResponseServiceClient::new(channel);
    for stream in [true, false] {
        let body = json!({"model": "scripted", "prompt": "从前", "stream": stream,
            "wanwu_script": {"tokens": 9}});
        let request = CreateCompletionRequest {
            body: body.to_string().into(),
            ..Default::default()
        };
        let request = bearing(request, journey.secret());
        let frames = read(completions.create_completion(request).await.unwrap()).await;
        assert_eq!((frames[0].stream, characters(&frames)), (stream, 9));
        billed(&journey, &frames[0].call_id, 2 * input + 9 * output).await;

        let body = json!({"model": "scripted", "input": "你好吗", "stream": stream,
            "wanwu_script": {"tokens": 11}});
        let request = CreateResponseRequest {
            body: body.to_string().into(),
            ..Default::default()
        };
        let request = bearing(request, journey.secret());
        let frames = read(responses.create_response(request).await.unwrap()).await;
        assert_eq!((frames[0].stream, characters(&frames)), (stream, 11));
        let (first, last) = (&frames[0].event, &frames[frames.len() - 1].event);
        let events = match stream {
            true => ("response.created", "response.completed"),
            false => ("", ""),
        };
        assert_eq!((first.as_str(), last.as_str()), events);
        billed(&journey, &frames[0].call_id, 3 * input + 11 * output).await;
    }
}

#[tokio::test]
async fn embeddings_are_answered_and_billed_by_grpc_and_need_their_own_scope() {
    let mut journey = customer().await;
    let (input, _) = journey.price("scripted").await.unwrap();
    let body = json!({"model": "scripted", "input": ["你好", "世界和平"]});
    let asked = |key: &str| {
        let request = CreateEmbeddingRequest {
            body: body.to_string().into(),
            ..Default::default()
        };
        bearing(request, key)
    };
    let mut embeddings = EmbeddingServiceClient::new(grpc().await);
    let refused = embeddings.create_embedding(asked(journey.secret())).await;
    assert_eq!(refused.unwrap_err().code(), Code::PermissionDenied);

    journey.key_for(&["embedding"]).await.unwrap();
    let answer = embeddings.create_embedding(asked(journey.secret())).await;
    let answer = answer.unwrap().into_inner();
    let Some(create_embedding_response::Frame::Data(json)) = answer.frame else {
        panic!("no data: {answer:?}")
    };
    let vectors: Value = serde_json::from_slice(&json).unwrap();
    assert_eq!(vectors["data"].as_array().unwrap().len(), 2);
    assert_ne!(
        vectors["data"][0]["embedding"],
        vectors["data"][1]["embedding"]
    );
    billed(&journey, &answer.call_id, 6 * input).await;
}
