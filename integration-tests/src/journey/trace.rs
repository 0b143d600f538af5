use std::time::{Duration, Instant};

use serde_json::Value;

use super::{Api, ApiError};
use crate::{stack::Stack, trace::Span};

const POLL: Duration = Duration::from_millis(200);
/// Processes send their spans in batches: a trace is whole when none came for so long.
const QUIET: Duration = Duration::from_millis(1500);

/// Waits until a trace has spans of every service and kind that is named (`("billing",
/// "consumer")`) and no more come, and answers all its spans.
///
/// # Errors
/// When one is missing after `patience`.
pub async fn wait_for_trace(
    stack: &Stack,
    trace_id: &str,
    wanted: &[(&str, &str)],
    patience: Duration,
) -> Result<Vec<Span>, ApiError> {
    let api = Api::new(&stack.description().traces.query);
    let begin = Instant::now();
    let mut grown = (0, Instant::now());
    loop {
        let spans = read_trace(&api, trace_id).await?;
        if spans.len() != grown.0 {
            grown = (spans.len(), Instant::now());
        }
        let missing = wanted.iter().find(|(service, kind)| {
            !spans
                .iter()
                .any(|span| span.service == *service && span.kind == *kind)
        });
        match missing {
            None if grown.1.elapsed() >= QUIET => return Ok(spans),
            Some((service, kind)) if begin.elapsed() > patience => {
                let what = format!("a {kind} span of {service} in trace {trace_id}");
                return Err(ApiError::Late(what));
            }
            _ => tokio::time::sleep(POLL).await,
        }
    }
}

/// The spans of a trace that have come so far; none: it is not known.
///
/// # Errors
/// When the receiver of traces does not answer.
pub async fn read_trace(api: &Api, trace_id: &str) -> Result<Vec<Span>, ApiError> {
    let url = format!("{}/traces/{trace_id}", api.base());
    let transport = |source| ApiError::Transport {
        method: url.clone(),
        source,
    };
    let answer = api.http().get(&url).send().await.map_err(transport)?;
    let mut answer: Value = answer.json().await.map_err(transport)?;
    Ok(serde_json::from_value(answer["spans"].take()).unwrap_or_default())
}
