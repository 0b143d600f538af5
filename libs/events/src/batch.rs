//! Many events in one transaction, where their handler takes them so. What cannot be applied together
//! is halved until it is alone: one event that is wrong keeps nothing else from its effect.

use std::{collections::HashSet, panic::AssertUnwindSafe};

use futures::FutureExt;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, Span};

use crate::{
    HandlerError,
    apply::{Applier, Failure, Origin, Outcome, Route, consume_span, count, sound},
    inbox,
    message::Incoming,
};

impl Applier {
    /// Brings delivered events to an end; answers how many, from the first: all, unless `stop` came
    /// before.
    pub(crate) async fn settle_all(
        &self,
        route: &Route,
        events: &[Incoming],
        stop: &CancellationToken,
    ) -> usize {
        let mut parts = vec![events];
        let mut settled = 0;
        while let Some(part) = parts.pop() {
            if let [event] = part {
                if !self.settle(route, event, Origin::Delivery, stop).await {
                    break;
                }
            } else if !self.settle_together(route, part).await {
                let (first, second) = part.split_at(part.len() / 2);
                parts.extend([second, first]);
                continue;
            }
            settled += part.len();
        }
        settled
    }

    /// Applies several events in one transaction. False: nothing is decided.
    async fn settle_together(&self, route: &Route, events: &[Incoming]) -> bool {
        // Each event is seen in the trace of what published it; what is written for all, in the first.
        let spans: Vec<Span> = events
            .iter()
            .map(|event| consume_span(route, event))
            .collect();
        let first = spans.first().cloned().unwrap_or_else(Span::none);
        match self.apply_all(route, events).instrument(first).await {
            Ok(applied) => {
                for place in 0..events.len() {
                    let new = place < applied;
                    count(
                        route,
                        if new {
                            Outcome::Applied
                        } else {
                            Outcome::Duplicate
                        },
                    );
                }
                true
            }
            Err(_) => {
                metrics::counter!("wanwu_event_batches_split_total").increment(1);
                false
            }
        }
    }

    /// Answers how many of the events were new.
    async fn apply_all(&self, route: &Route, events: &[Incoming]) -> Result<usize, Failure> {
        let ids: Vec<_> = events.iter().map(|event| event.event_id).collect();
        let now = self.clock.now();
        let mut tx = self.pool.begin().await?;
        let claimed = inbox::claim_all_delivered(&mut tx, &route.queue, &ids, now).await?;
        let new = claimed.len();
        let mut claimed: HashSet<_> = claimed.into_iter().collect();
        // One that came twice is taken once.
        let fresh = events
            .iter()
            .filter(|event| claimed.remove(&event.event_id));
        let fresh: Vec<_> = fresh.collect();
        if fresh.iter().any(|event| event.name != route.event) {
            let stranger = HandlerError::reject("one is not of this queue's type");
            return Err(Failure::Handler(stranger));
        }
        if new > 0 {
            let payloads = fresh.iter().map(|event| &event.payload[..]).collect();
            let applied = AssertUnwindSafe(route.handler.apply_all(&mut tx, payloads));
            let applied = applied.catch_unwind().await;
            let applied = applied.unwrap_or_else(|_| Err(HandlerError::retry("a panic")));
            applied.map_err(Failure::Handler)?;
            sound(&mut tx).await?;
        }
        wanwu_crash::point("consumer.before_commit");
        tx.commit().await?;
        wanwu_crash::point("consumer.committed");
        Ok(new)
    }
}
