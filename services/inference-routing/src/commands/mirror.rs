//! A copy of a call for another model: nobody sees its answer or pays for it, and it never holds
//! the call up.

use std::{sync::Arc, time::Instant};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};
use tracing::{Instrument, info_span};

use super::run_call::Call;
use crate::{
    catalogue::Model,
    domain::{placement::Ending, request_body::RequestBody},
    engine::{Answer, client::Question},
};

/// Copies that run at a time; further ones are left out.
const MAX_COPIES: usize = 32;

/// Room for copies.
#[must_use]
pub fn room() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(MAX_COPIES))
}

impl Call {
    /// Sends a copy on its way.
    pub(super) fn copy_to(&self, model: &Arc<Model>) {
        let count = |outcome: &'static str| {
            metrics::counter!("inference_routing_copies",
                "model" => model.config.name.clone(), "outcome" => outcome)
            .increment(1);
        };
        let room = self.chat.copies.clone().try_acquire_owned().ok();
        // Calls that are paid for wait for engines that are full.
        let Some(room) = room.filter(|_| model.admission.opens().is_none()) else {
            count("left_out");
            return;
        };
        count("sent");
        let copy = Copy {
            model: model.clone(),
            question: self.question(model),
            _room: room,
        };
        let body = self.body.clone();
        let chat = self.chat.clone();
        let limit = chat.engine_config.call_timeout;
        let span = info_span!("inference.copy", gen_ai.request.model = model.config.name);
        self.chat.calls.spawn(
            async move {
                let _ = timeout(limit, copy.run(&body, &chat.engines)).await;
            }
            .instrument(span),
        );
    }
}

struct Copy {
    model: Arc<Model>,
    question: Question,
    _room: OwnedSemaphorePermit,
}

impl Copy {
    async fn run(self, body: &RequestBody, engines: &crate::engine::client::EngineClient) {
        let pool = &self.model.pool;
        let prompt = pool.prompt(body.prompt());
        let Ok(mut at_work) = pool.pick(&prompt, &[], Instant::now()) else {
            return;
        };
        match engines.ask(at_work.engine(), &self.question).await {
            Ok(Answer::Whole(_)) => at_work.end(Ending::Well),
            Ok(Answer::Stream(_, mut events)) => {
                at_work.began();
                loop {
                    match events.next().await {
                        Ok(Some(event)) if event.as_ref() == b"[DONE]" => {
                            events.release();
                            break at_work.end(Ending::Well);
                        }
                        Ok(Some(_)) => {}
                        Ok(None) => break at_work.end(Ending::Well),
                        Err(error) => break at_work.end(error.ending()),
                    }
                }
            }
            Err(error) => at_work.end(error.ending()),
        }
    }
}
