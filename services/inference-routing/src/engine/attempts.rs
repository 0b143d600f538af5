//! Engines are asked, one after the other, until one begins to answer.

use std::{sync::Arc, time::Instant};

use tracing::{Instrument, Span, field::Empty, info_span};

use super::{
    Answer, EngineError, Soonest,
    at_work::AtWork,
    client::{EngineClient, Question},
    pool::Pool,
};
use crate::domain::placement::{NobodyLeft, Prompt, SlotId};

/// Asks engines of a pool for an answer, at most `most`; further ones than the first only as far
/// as the pool's budget allows. `count` is told each attempt before it is made. Who waits for an engine
/// that is left out meanwhile, because nothing comes from it, need not wait to the end. Where the last one
/// is busy, the error has the least time of all that are.
pub async fn ask(
    client: &EngineClient,
    pool: &Arc<Pool>,
    prompt: &Prompt,
    question: &Question,
    most: usize,
    mut count: impl FnMut(),
) -> Result<(Answer, AtWork), EngineError> {
    let mut tried = Vec::new();
    let mut soonest = Soonest::default();
    let pick = |tried: &[SlotId]| pool.pick(prompt, tried, Instant::now());
    let mut at_work = pick(&tried).map_err(nobody_left)?;
    loop {
        count();
        tried.push(at_work.id());
        let span = span(&at_work);
        let engine = at_work.shared_engine();
        let asking = client.ask(&engine, question).instrument(span.clone());
        tokio::pin!(asking);
        let answer = tokio::select! {
            biased;
            answer = &mut asking => answer,
            () = at_work.silent() => {
                let other = (tried.len() < most).then(|| pick(&tried).ok()).flatten();
                if let Some(other) = other {
                    span.record("error.type", EngineError::Silent.kind());
                    tracing::info!(engine.url = engine.url, "a call looks elsewhere");
                    at_work = other;
                    continue;
                }
                asking.await
            }
        };
        let error = match answer {
            Ok(answer) => {
                at_work.began();
                return Ok((answer, at_work));
            }
            Err(error) => error,
        };
        span.record("error.type", error.kind());
        tracing::info!(
            engine.url = engine.url,
            error = &error as &dyn std::error::Error,
            "an engine did not begin to answer"
        );
        at_work.end(error.ending());
        let error = soonest.told(error);
        if !error.is_retryable() || tried.len() == most {
            return Err(error);
        }
        match (pick(&tried), error) {
            (Ok(other), _) => at_work = other,
            // Those that are left alone already were not asked.
            (Err(nobody), EngineError::Busy { .. }) if nobody.retry_after.is_some() => {
                return Err(soonest.told(nobody_left(nobody)));
            }
            (Err(_), error) => return Err(error),
        }
    }
}

fn nobody_left(nobody: NobodyLeft) -> EngineError {
    match nobody.retry_after {
        Some(retry_after) => EngineError::Busy {
            retry_after,
            said: true,
        },
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
