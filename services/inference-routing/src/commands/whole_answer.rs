//! An answer that is not streamed.

use bytes::Bytes;
use tracing::{field::Empty, info_span};

use super::{client::Item, gen_ai::CallSpan, run_call::Call};
use crate::{
    domain::{
        answer::{Frame, Said, Spent, withheld},
        chunk::{Chunk, Edits, Piece, labelled},
        screen::Screen,
        told::Told,
        usage::{Outcome, Source},
    },
    engine::EngineError,
};

impl Call {
    /// Screens and labels the answer; sends it when its final row is durable.
    pub(super) async fn whole(&mut self, answer: &Bytes) {
        let shape = self.body.shape();
        let chunk = match Chunk::parse(shape, answer) {
            Ok(chunk) if !chunk.is_error => chunk,
            Ok(_) => return self.refuse(EngineError::Cut).await,
            Err(error) => return self.refuse(EngineError::Nonsense(error.into())).await,
        };
        self.said = Some(said(&chunk, self.span.is_recorded()));
        let (spent, told) = spent(&chunk);
        let spent = self.counted(Outcome::Completed, spent, Some(told)).await;
        let wishes = self.wishes();
        let class = violation(&self.chat.screen, &chunk, &self.span);
        let (outcome, spent, data, class) = match class {
            None => {
                let label = shape.is_generated().then_some(self.client.label.as_str());
                let edits = Edits {
                    without_usage: false,
                    model: wishes.model.as_deref(),
                    label,
                };
                (Outcome::Completed, spent, chunk.edited(edits), None)
            }
            Some(class) => {
                metrics::counter!("inference_routing_violations", "side" => "output").increment(1);
                let withheld = labelled(&withheld(shape, answer), &self.client.label);
                (
                    Outcome::ContentStopped,
                    Spent::default(),
                    withheld,
                    Some(class),
                )
            }
        };
        let durable = self.finish(outcome, spent, class).await;
        let frame = Frame {
            data,
            event: None,
            spent,
        };
        let item = durable.map_or_else(|_| self.journal_failed(), |()| Item::Data(frame));
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

/// What the engine says of its answers, its id of them where somebody `wants_id`.
fn said(chunk: &Chunk<'_>, wants_id: bool) -> Said {
    let mut said = Said::default();
    for (index, reason) in chunk.endings() {
        said.reasons.ended(index, reason);
    }
    if wants_id {
        said.id = chunk.id();
    }
    said
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
            let texts = chunk.texts();
            let pieces: usize = chunk.pieces().map(|piece| piece.text.len()).sum();
            let repeated: usize = texts.iter().map(String::len).sum();
            spent.tokens.output = ((pieces + repeated) as u64).div_ceil(4);
            chunk.pieces().for_each(|piece| told.push(&piece));
            for (index, text) in (0..).zip(&texts) {
                let place = (index, u8::MAX);
                told.push(&Piece { place, text });
            }
            spent.text = told.len();
        }
    }
    (spent, told)
}

/// The class of the first term in any text of the answer, as a step of the trace.
fn violation(screen: &Screen, chunk: &Chunk<'_>, span: &CallSpan) -> Option<String> {
    let step = || info_span!("inference.screen_output", screen.class = Empty);
    let step = span.step(step).entered();
    let class = |text: &str| {
        let read = screen.read(&mut screen.window(), text);
        read.err().map(str::to_owned)
    };
    let mut pieces = chunk.pieces();
    let found = pieces.find_map(|piece| class(piece.text));
    let found = found.or_else(|| chunk.texts().iter().find_map(|text| class(text)));
    if let Some(class) = &found {
        step.record("screen.class", class);
    }
    found
}
