//! One event, applied once: record and effect in one transaction; what fails is kept in the
//! database before the broker is told that we have it.

use std::{collections::HashMap, panic::AssertUnwindSafe, sync::Arc};

use chrono::Duration;
use futures::FutureExt;
use sqlx::{PgConnection, PgPool};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, Span, info_span};
use wanwu_clock::SharedClock;

use crate::{
    HandlerError,
    failure::{Backoff, chain},
    handler::AnyHandler,
    inbox::{self, Try},
    message::Incoming,
    race::lost_race,
};

/// Tries before an event becomes a dead letter.
const TRIES: i32 = 5;
/// How long to wait after the first, second, .. failed try, in seconds.
const PAUSES: [i64; 4] = [1, 5, 30, 120];
/// How long a handler may say that it is not yet time.
const PATIENCE: Duration = Duration::days(1);
/// A handler that loses this many races in a row has used up a try.
const RACES: u32 = 10;

/// A queue and who handles what is in it.
pub(crate) struct Route {
    /// Without the prefix of the broker's configuration.
    pub(crate) queue: String,
    /// Full protobuf name of the event.
    pub(crate) event: String,
    pub(crate) handler: Arc<dyn AnyHandler>,
}

/// Where an event comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// From the broker.
    Delivery,
    /// From `inbox_retries`.
    Retry,
}

/// What became of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Applied,
    /// It was applied before, or the database keeps it already.
    Duplicate,
    /// It is kept and tried again.
    Kept,
    Dead,
}

/// Why a try failed.
pub(crate) enum Failure {
    /// Nothing to do with the event: the same try is made again.
    Database(sqlx::Error),
    Handler(HandlerError),
}

/// Applies the events of one service.
pub(crate) struct Applier {
    pub(crate) pool: PgPool,
    pub(crate) clock: SharedClock,
    /// By queue.
    pub(crate) routes: HashMap<String, Arc<Route>>,
}

impl Outcome {
    const fn name(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Duplicate => "duplicate",
            Self::Kept => "kept",
            Self::Dead => "dead",
        }
    }
}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error)
    }
}

impl Applier {
    /// Brings an event to an end: applied, kept or dead. False only when `stop` came first; then
    /// nothing is decided. A database that is away is waited for, without using up tries.
    pub(crate) async fn settle(
        &self,
        route: &Route,
        event: &Incoming,
        origin: Origin,
        stop: &CancellationToken,
    ) -> bool {
        let span = consume_span(route, event);
        let mut backoff = Backoff::new();
        let settled = async {
            loop {
                let error = match self
                    .try_once(route, event, origin, backoff.failures())
                    .await
                {
                    Ok(outcome) => return Some(outcome),
                    Err(error) => error,
                };
                tracing::warn!(
                    error = chain(&error),
                    "the database failed, the event waits"
                );
                stop.run_until_cancelled(sleep(backoff.next())).await?;
            }
        };
        let outcome = settled.instrument(span).await;
        if let Some(outcome) = outcome {
            count(route, outcome);
        }
        outcome.is_some()
    }

    /// One try and its record. An error means that nothing is decided.
    async fn try_once(
        &self,
        route: &Route,
        event: &Incoming,
        origin: Origin,
        races: u32,
    ) -> Result<Outcome, sqlx::Error> {
        match self.apply(route, event, origin).await {
            Ok(outcome) => Ok(outcome),
            Err(Failure::Database(error)) => Err(error),
            Err(Failure::Handler(error)) => match lost_race(error) {
                Ok(race) if races < RACES => Err(race),
                Ok(race) => self.keep(route, event, &race.into()).await,
                Err(error) => self.keep(route, event, &error).await,
            },
        }
    }

    async fn apply(
        &self,
        route: &Route,
        event: &Incoming,
        origin: Origin,
    ) -> Result<Outcome, Failure> {
        let now = self.clock.now();
        let (queue, id) = (&route.queue, event.event_id);
        let mut tx = self.pool.begin().await?;
        let new = match origin {
            Origin::Delivery => inbox::claim_delivered(&mut tx, queue, id, now).await?,
            Origin::Retry => inbox::claim(&mut tx, queue, id, now).await?,
        };
        if new {
            handle(route, &mut tx, event)
                .await
                .map_err(Failure::Handler)?;
            sound(&mut tx).await?;
        }
        if origin == Origin::Retry {
            inbox::forget_retry(&mut tx, queue, id).await?;
        }
        wanwu_crash::point("consumer.before_commit");
        tx.commit().await?;
        wanwu_crash::point("consumer.committed");
        Ok(if new {
            Outcome::Applied
        } else {
            Outcome::Duplicate
        })
    }

    /// Keeps an event that could not be applied, or gives it up.
    async fn keep(
        &self,
        route: &Route,
        event: &Incoming,
        error: &HandlerError,
    ) -> Result<Outcome, sqlx::Error> {
        let now = self.clock.now();
        let text = reason(error);
        let failed = Try {
            queue: &route.queue,
            event,
            error: &text,
            now,
        };
        let counted = !matches!(error, HandlerError::NotYet(_));
        let mut tx = self.pool.begin().await?;
        let (attempts, first) = inbox::record_try(&mut tx, failed, counted).await?;
        let next = match error {
            HandlerError::Reject(_) => None,
            HandlerError::Retry(_) if attempts >= TRIES => None,
            HandlerError::Retry(_) => Some(now + pause_after(attempts)),
            HandlerError::NotYet(_) if now - first > PATIENCE => None,
            HandlerError::NotYet(pause) => {
                Some(now + Duration::from_std(*pause).unwrap_or(PATIENCE).min(PATIENCE))
            }
        };
        let outcome = match next {
            Some(next) => {
                inbox::schedule(&mut tx, &route.queue, event.event_id, next).await?;
                Outcome::Kept
            }
            None => {
                inbox::bury(&mut tx, failed, attempts).await?;
                Outcome::Dead
            }
        };
        tx.commit().await?;
        if outcome == Outcome::Dead {
            tracing::error!(error = text, attempts, "the event became a dead letter");
        } else {
            tracing::warn!(error = text, attempts, "the event is tried again later");
        }
        Ok(outcome)
    }
}

/// Hands the event to its handler. A panic is a failed try.
pub(crate) async fn handle(
    route: &Route,
    tx: &mut PgConnection,
    event: &Incoming,
) -> Result<(), HandlerError> {
    if event.name != route.event {
        return Err(HandlerError::reject(
            "the event is not of this queue's type",
        ));
    }
    let applied = AssertUnwindSafe(route.handler.apply(tx, &event.payload)).catch_unwind();
    applied
        .await
        .unwrap_or_else(|_| Err(HandlerError::retry("the handler panicked")))
}

/// The span of an event that is consumed, in the trace of what published it.
pub(crate) fn consume_span(route: &Route, event: &Incoming) -> Span {
    let span = info_span!(
        "events.consume",
        otel.name = format!("events.consume {}", route.event),
        otel.kind = "consumer",
        messaging.system = "rabbitmq",
        messaging.message.id = %event.event_id,
        messaging.destination.name = %route.queue,
    );
    event.trace.adopt(&span);
    span
}

pub(crate) fn count(route: &Route, outcome: Outcome) {
    let labels = [
        ("event", route.event.clone()),
        ("outcome", outcome.name().to_owned()),
    ];
    metrics::counter!("wanwu_events_consumed_total", &labels).increment(1);
}

/// What went wrong, without the words that only say which kind of failure it is.
pub(crate) fn reason(error: &HandlerError) -> String {
    match error {
        HandlerError::Retry(source) | HandlerError::Reject(source) => chain(&**source),
        HandlerError::NotYet(_) => chain(error),
    }
}

/// A handler that swallows the error of a statement leaves a transaction that cannot commit.
pub(crate) async fn sound(tx: &mut PgConnection) -> Result<(), Failure> {
    match inbox::ensure_sound(tx).await {
        Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some("25P02") => {
            Err(Failure::Handler(HandlerError::retry(
                "the handler hid the error of a statement",
            )))
        }
        other => other.map_err(Failure::Database),
    }
}

fn pause_after(attempts: i32) -> Duration {
    let last = PAUSES.len() - 1;
    let index = usize::try_from(attempts - 1).unwrap_or(0).min(last);
    Duration::seconds(PAUSES[index])
}
