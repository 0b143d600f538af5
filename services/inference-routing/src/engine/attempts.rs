//! Engines are asked, one after the other, until one begins to answer.

use std::{sync::Arc, time::Instant};

use tracing::{Instrument, Span, field::Empty, info_span};

use super::{
    Answer, EngineError,
    client::{EngineClient, Question},
    pool::{AtWork, Pool},
};
use crate::domain::placement::{NobodyLeft, Prompt};

/// Asks engines of a pool for an answer, at most `most`; further ones than the first only as far
/// as the pool's budget allows. `count` is told each attempt before it is made.
pub async fn ask(
    client: &EngineClient,
    pool: &Arc<Pool>,
    prompt: &Prompt,
    question: &Question,
    most: usize,
    count: impl Fn(),
) -> Result<(Answer, AtWork), EngineError> {
    let mut tried = Vec::new();
    let mut last = None;
    while tried.len() < most {
        let mut at_work = match pool.pick(prompt, &tried, Instant::now()) {
            Ok(at_work) => at_work,
            Err(nobody) => return Err(last.unwrap_or_else(|| nobody_left(nobody))),
        };
        count();
        let span = span(&at_work);
        match client
            .ask(at_work.engine(), question)
            .instrument(span.clone())
            .await
        {
            Ok(answer) => {
                at_work.began();
                return Ok((answer, at_work));
            }
            Err(error) => {
                let ending = error.ending();
                span.record("error.type", error.kind());
                tracing::info!(
                    engine.url = at_work.engine().url,
                    error = &error as &dyn std::error::Error,
                    "an engine did not begin to answer"
                );
                tried.push(at_work.id());
                at_work.end(ending);
                if !error.is_retryable() {
                    return Err(error);
                }
                last = Some(error);
            }
        }
    }
    Err(last.unwrap_or(EngineError::NoneWell))
}

fn nobody_left(nobody: NobodyLeft) -> EngineError {
    match nobody.retry_after {
        Some(retry_after) => EngineError::Busy { retry_after },
        None => EngineError::NoneWell,
    }
}

/// One attempt, with the scores that its engine was chosen by.
fn span(at_work: &AtWork) -> Span {
    let span = info_span!(
        "inference.attempt",
        engine.url = at_work.engine().url,
        placement.scores = Empty,
        "error.type" = Empty
    );
    if !span.is_disabled() {
        span.record("placement.scores", at_work.scores());
    }
    span
}
