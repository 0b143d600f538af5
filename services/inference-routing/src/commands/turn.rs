//! A call waits for its turn.

use tokio::time::Instant;
use tracing::info_span;

use super::waited::waited;
use crate::{
    admission::{Busy, Place},
    catalogue::Model,
    domain::fair_queue::Turn,
    engine::EngineError,
    routes::Way,
    series::kept,
};

/// The outcome of most waits.
const PLACED: &str = "placed";

/// Turns of one call at most: what each engine refuses that said to have room is refused for what it is itself,
/// and each refusal would have engines believed to be full.
const MOST_TURNS: u32 = 5;

/// Where a call runs, and how long it may wait for another turn where it cannot.
#[derive(Debug)]
pub struct Seat {
    turn: Turn,
    until: Instant,
    at: usize,
    /// Turns that it had.
    turns: u32,
    /// None while it waits for another.
    place: Option<Place>,
}

/// A wait, told when it ends, however it does: were it told only of calls that got a place, no wait
/// would be seen where none gets one.
struct Wait<'a> {
    model: &'a Model,
    since: Instant,
    outcome: &'static str,
}

impl Seat {
    /// Waits for a place of a model of the way, `until` then at most with all waits that follow.
    pub async fn take(way: &Way, turn: Turn, until: Instant) -> Result<Self, Busy> {
        // Who waits for engines that are full is not sent to a fallback that has room because it is ill.
        let may = |at: &usize| *at == 0 || way.model(*at).pool.is_well();
        let (at, opens) = first_open(way, (0..=way.fallbacks.len()).filter(may));
        let place = place(way.model(at), opens, turn, until).await?;
        if at > 0 {
            went_on(&way.first, way.model(at));
        }
        Ok(Self {
            turn,
            until,
            at,
            turns: 1,
            place: Some(place),
        })
    }

    /// Which of its way's models it is of.
    #[must_use]
    pub const fn at(&self) -> usize {
        self.at
    }

    /// No room need be kept for the call at an engine: one has it, none of this model will, or it cannot go
    /// there yet.
    pub fn arrived(&mut self) {
        if let Some(place) = &mut self.place {
            place.arrived();
        }
    }

    /// The call was served so many tokens.
    pub fn served(&mut self, tokens: u64) {
        if let Some(place) = &mut self.place {
            place.served(tokens);
        }
    }

    /// Gives the place back, because none of the engines of these models had room, and waits for one of them
    /// that has, or of one before. An error: none has in time; where that is known beforehand, or the call had
    /// its turns, it is what the engines said.
    pub async fn take_again(
        &mut self,
        way: &Way,
        full: &[usize],
        said: EngineError,
    ) -> Result<(), EngineError> {
        if let Some(place) = self.place.take() {
            place.give_back();
        }
        let may =
            |at: &usize| full.contains(at) || (*at < self.at && way.model(*at).pool.is_well());
        let (at, opens) = first_open(way, (0..=way.fallbacks.len()).filter(may));
        let opens_at = opens.unwrap_or_else(Instant::now);
        if opens_at >= self.until || self.turns == MOST_TURNS {
            return Err(said);
        }
        self.turns += 1;
        let turn = Turn {
            again: true,
            ..self.turn
        };
        match place(way.model(at), opens, turn, self.until).await {
            Ok(place) => {
                self.place = Some(place);
                self.at = at;
                Ok(())
            }
            Err(Busy { retry_after }) => Err(EngineError::Busy {
                retry_after,
                said: true,
            }),
        }
    }
}

/// Of these models of a way the first whose engines have room; where none has, the one whose engines may have
/// it soonest, and when.
fn first_open(way: &Way, among: impl Iterator<Item = usize>) -> (usize, Option<Instant>) {
    let opening = |at| (at, way.model(at).admission.opens());
    let first = among.map(opening).min_by_key(|(_, opens)| *opens);
    first.unwrap_or_default()
}

/// A call goes on to a fallback.
pub fn went_on(from: &Model, to: &Model) {
    metrics::counter!("inference_routing_fallbacks",
        "model" => from.config.name.clone(), "to" => to.config.name.clone())
    .increment(1);
}

/// Waits for a place of a model whose engines may have room at `opens`. The metric has how long, with what
/// came of it: `placed`, `refused`, or `left` where the client went away meanwhile.
async fn place(
    model: &Model,
    opens: Option<Instant>,
    turn: Turn,
    until: Instant,
) -> Result<Place, Busy> {
    let mut wait = Wait {
        model,
        since: Instant::now(),
        outcome: "left",
    };
    let place = if opens.is_some_and(|opens| opens > until) {
        Err(model.admission.busy())
    } else {
        let entered = model.admission.enter(turn, until);
        waited(entered, || info_span!("inference.queue")).await
    };
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
