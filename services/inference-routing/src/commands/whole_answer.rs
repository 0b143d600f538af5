//! An answer that is not streamed.

use bytes::Bytes;

use super::{client::Item, run_call::Call};
use crate::{
    domain::{
        answer::{Frame, Spent},
        chunk::{Chunk, Edits, labelled},
        screen::Screen,
        told::Told,
        usage::{Outcome, Source},
    },
    engine::EngineError,
};

impl Call {
    /// Screens and labels the answer; sends it when its final row is durable.
    pub(super) async fn whole(&mut self, answer: &Bytes) {
        let chunk = match Chunk::parse(answer) {
            Ok(chunk) if !chunk.is_error => chunk,
            Ok(_) => return self.refuse(EngineError::Cut).await,
            Err(error) => return self.refuse(EngineError::Nonsense(error.into())).await,
        };
        let (spent, told) = spent(&chunk);
        let spent = self.counted(spent, Some(told)).await;
        let wishes = self.wishes();
        let (outcome, spent, data, class) = match violation(&self.chat.screen, &chunk) {
            None => {
                let label = Some(self.label.as_str());
                let edits = Edits {
                    without_usage: false,
                    model: wishes.model.as_deref(),
                    label,
                };
                (Outcome::Completed, spent, chunk.edited(edits), None)
            }
            Some(class) => {
                metrics::counter!("inference_routing_violations", "side" => "output").increment(1);
                let withheld = labelled(&withheld(answer), &self.label);
                (
                    Outcome::ContentStopped,
                    Spent::default(),
                    withheld,
                    Some(class),
                )
            }
        };
        let durable = self.finish(outcome, spent, class).await;
        let item = durable.map_or_else(
            |_| Self::journal_failed(),
            |()| Item::Data(Frame { data, spent }),
        );
        let _ = self.client.send(item).await;
    }

    async fn refuse(&mut self, error: EngineError) {
        let durable = self
            .finish(Outcome::EngineFailed, Spent::default(), None)
            .await;
        let error = durable.map_or(crate::Error::JournalUnavailable, |()| error.into());
        self.client.refuse(error).await;
    }
}

/// What an answer used, and its text where the engine does not say.
fn spent(chunk: &Chunk<'_>) -> (Spent, Told) {
    let mut told = Told::default();
    let mut spent = Spent::default();
    match chunk.usage() {
        Some(tokens) => {
            spent.tokens = tokens;
            spent.source = Source::Engine;
        }
        // An engine that says nothing: a quarter of the bytes, as for prompts.
        None => {
            let bytes: usize = chunk.pieces().map(|piece| piece.text.len()).sum();
            spent.tokens.output = (bytes as u64).div_ceil(4);
            chunk.pieces().for_each(|piece| told.push(&piece));
            spent.text = told.len();
        }
    }
    (spent, told)
}

/// The class of the first term in any text of the answer.
fn violation(screen: &Screen, chunk: &Chunk<'_>) -> Option<String> {
    chunk.pieces().find_map(|piece| {
        screen
            .read(&mut screen.window(), piece.text)
            .err()
            .map(str::to_owned)
    })
}

/// The answer without its content.
fn withheld(answer: &[u8]) -> Vec<u8> {
    let mut json: serde_json::Value = serde_json::from_slice(answer).unwrap_or_default();
    for choice in json["choices"].as_array_mut().into_iter().flatten() {
        choice["message"] = serde_json::json!({"role": "assistant", "content": ""});
        choice["finish_reason"] = "content_filter".into();
    }
    json["usage"] =
        serde_json::json!({"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0});
    json.to_string().into_bytes()
}
