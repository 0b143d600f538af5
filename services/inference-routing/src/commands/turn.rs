//! A call waits for its turn.

use tokio::time::Instant;
use tracing::info_span;

use super::waited::waited;
use crate::{
    admission::{Busy, Place},
    catalogue::Model,
    domain::fair_queue::Turn,
    series::kept,
};

/// The outcome of most waits.
const PLACED: &str = "placed";

/// A wait, told when it ends, however it does: were it told only of calls that got a place, no wait
/// would be seen where none gets one.
struct Wait<'a> {
    model: &'a Model,
    since: Instant,
    outcome: &'static str,
}

/// Waits for a place of a model. The metric has how long, with what came of it: `placed`, `refused`, or
/// `left` where the client went away meanwhile.
pub async fn place(model: &Model, turn: Turn) -> Result<Place, Busy> {
    let mut wait = Wait {
        model,
        since: Instant::now(),
        outcome: "left",
    };
    let entered = model.admission.enter(turn);
    let place = waited(entered, || info_span!("inference.queue")).await;
    wait.outcome = match place {
        Ok(_) => PLACED,
        Err(_) => "refused",
    };
    place
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        let place = Some(&self.model.series.placed).filter(|_| self.outcome == PLACED);
        let waits = kept(place, || {
            metrics::histogram!("inference_routing_queue_seconds",
                "model" => self.model.config.name.clone(), "outcome" => self.outcome)
        });
        waits.record(self.since.elapsed());
    }
}
