use std::time::{Duration, Instant};

use integration_tests::{
    journey::{Answer, ApiError, Journey, prompt},
    stack::Stack,
};
use serde_json::{Value, json};

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
