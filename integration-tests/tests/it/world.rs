use std::time::{Duration, Instant};

use integration_tests::{
    journey::{Answer, ApiError, Journey, prompt},
    stack::Stack,
};
use serde_json::{Value, json};
use tonic::{
    Request,
    transport::{Channel, Endpoint},
};

/// How long what must come is waited for.
const PATIENCE: Duration = Duration::from_secs(10);

/// The stack of the tests.
pub fn stack() -> Stack {
    Stack::from_environment().expect("WANWU_STACK names a running stack")
}

/// A customer who may call the scripted model, with ten yuan.
pub async fn customer() -> Journey {
    Journey::ready_to_call(&stack(), 1000)
        .await
        .expect("a customer gets ready")
}

/// A call of the scripted engine.
pub fn scripted(script: Value) -> Value {
    let mut body = prompt("scripted", "你好");
    body["wanwu_script"] = script;
    body
}

/// A short call that is not streamed.
pub async fn call(journey: &Journey) -> Result<Answer, ApiError> {
    journey.chat(scripted(json!({"tokens": 3}))).await
}

/// Waits until a call is refused for a reason; answers how long that took.
pub async fn refused_within(journey: &Journey, reason: &str, limit: Duration) -> Duration {
    let begin = Instant::now();
    loop {
        match call(journey).await {
            Err(error) if error.reason().eq_ignore_ascii_case(reason) => return begin.elapsed(),
            outcome => assert!(
                begin.elapsed() < limit,
                "not refused for {reason} within {limit:?}: {outcome:?}"
            ),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The reason of a refusal; panics when it was allowed.
pub fn reason<T: std::fmt::Debug>(outcome: Result<T, ApiError>) -> (u16, String) {
    let error = outcome.expect_err("it is refused");
    (error.status(), error.reason().to_owned())
}

/// A new request id.
pub fn request_id() -> String {
    uuid::Uuid::new_v4().to_string()
}

/// Asks until there is an answer.
pub async fn until<T>(what: &str, ask: impl AsyncFn() -> Option<T>) -> T {
    let begin = Instant::now();
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(begin.elapsed() < PATIENCE, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// What the engine recorded of a call; null: it does not know it.
pub async fn truth(call: &str) -> Value {
    let url = format!("{}/_truth?call={call}", stack().simulator("engine"));
    reqwest::get(url).await.unwrap().json().await.unwrap()
}

/// A connection to the edge's gRPC.
pub async fn grpc() -> Channel {
    let edge = Endpoint::from_shared(stack().description().edge.clone()).unwrap();
    edge.connect().await.unwrap()
}

/// A gRPC request with a credential.
pub fn bearing<T>(message: T, credential: &str) -> Request<T> {
    let mut request = Request::new(message);
    let bearer = format!("Bearer {credential}").parse().unwrap();
    request.metadata_mut().insert("authorization", bearer);
    request
}
