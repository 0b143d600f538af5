use std::time::{Duration, Instant};

use serde_json::Value;

use super::{Api, ApiError};
use crate::{stack::Stack, trace::Span};

const POLL: Duration = Duration::from_millis(200);

/// Waits until a trace has spans of every service that is named, and answers all its spans.
///
/// # Errors
/// When one is missing after `patience`.
pub async fn wait_for_trace(
    stack: &Stack,
    trace_id: &str,
    services: &[&str],
    patience: Duration,
) -> Result<Vec<Span>, ApiError> {
    let api = Api::new(&stack.description().traces.query);
    let url = format!("{}/traces/{trace_id}", api.base());
    let begin = Instant::now();
    loop {
        let transport = |source| ApiError::Transport {
            method: url.clone(),
            source,
        };
        let answer = api.http().get(&url).send().await.map_err(transport)?;
        let answer: Value = answer.json().await.map_err(transport)?;
        let spans: Vec<Span> = serde_json::from_value(answer["spans"].clone()).unwrap_or_default();
        let missing = services
            .iter()
            .find(|name| !spans.iter().any(|s| s.service == **name));
        match missing {
            None if !spans.is_empty() => return Ok(spans),
            Some(name) if begin.elapsed() > patience => {
                return Err(ApiError::Late(format!(
                    "a span of {name} in trace {trace_id}"
                )));
            }
            None if begin.elapsed() > patience => {
                return Err(ApiError::Late(format!("trace {trace_id}")));
            }
            _ => tokio::time::sleep(POLL).await,
        }
    }
}
