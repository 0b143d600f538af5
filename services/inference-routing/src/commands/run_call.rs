//! One call, from its dispatch to its final row.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI16, AtomicUsize, Ordering},
    },
    time::Instant,
};

use bytes::Bytes;
use futures::FutureExt;
use tracing::{Instrument, Span, info_span};

use super::{
    chat::Chat,
    client::{Client, Item},
    gen_ai::{CallSpan, End, Of, Times},
    refused::counted,
    turn::{Seat, went_on},
};
use crate::{
    catalogue::Model,
    credit::Hold,
    domain::{
        answer::{Said, Spent, Wishes},
        placement::Ending,
        request_body::RequestBody,
        shape::Shape,
        usage::{Outcome, Tokens},
    },
    engine::{Answer, EngineError, Soonest, at_work::AtWork, attempts, client::Question},
    error::Error,
    journal::{Dispatch, Final, NotDispatched, NotDurable},
    limiter::Permit,
    routes::Way,
    series::kept,
};

/// A call that was admitted and paid for.
pub struct Call {
    pub(super) chat: Arc<Chat>,
    way: Way,
    /// Which of the way's models answers: 0 the first, then the fallbacks.
    answers: AtomicUsize,
    pub(super) body: RequestBody,
    pub(super) row: Arc<Dispatch>,
    pub(super) client: Client,
    got: Option<Got>,
    attempts: AtomicI16,
    times: Times,
    /// What the engine said of its answers; none: it did not begin.
    pub(super) said: Option<Said>,
    pub(super) span: CallSpan,
}

/// What was got for a call: given back when it ends.
#[derive(Debug)]
pub struct Got {
    /// Of limits.
    pub permit: Permit,
    /// To run.
    pub seat: Seat,
    /// To pay.
    pub hold: Hold,
}

/// Why an answer did not begin.
enum NotBegun {
    ClientGone,
    Journal(NotDispatched),
    Engine(EngineError),
}

impl Call {
    /// A call that is ready to run, which began when its request came. The current span is its own.
    pub fn new(
        chat: Arc<Chat>,
        way: Way,
        body: RequestBody,
        row: Arc<Dispatch>,
        got: Got,
        client: Client,
        times: Times,
    ) -> Self {
        Self {
            chat,
            way,
            answers: AtomicUsize::new(0),
            body,
            row,
            client,
            got: Some(got),
            attempts: AtomicI16::new(0),
            times,
            said: None,
            span: CallSpan::current(),
        }
    }

    /// Runs to the final row.
    pub async fn run(mut self) {
        if let Some(model) = self.way.copied_to.take() {
            self.copy_to(&model);
        }
        let Some(mut got) = self.got.take() else {
            return;
        };
        let begun = self.begin(&mut got.seat).await;
        self.got = Some(got);
        if let Ok((_, at_work)) = &begun {
            self.span.answered_by(&at_work.engine().url);
        }
        match begun {
            Ok((Answer::Stream(first, events), at_work)) => {
                self.times = self.times.first(&self.of());
                self.stream(first, events, at_work).await;
            }
            Ok((Answer::Whole(answer), at_work)) => {
                at_work.end(Ending::Well);
                self.whole(&answer).await;
            }
            Err(NotBegun::ClientGone) => {
                drop(self.finish(Outcome::ClientGone, Spent::default(), None));
            }
            Err(NotBegun::Journal(NotDispatched::Duplicate)) => {
                let refused = counted(Error::DuplicateCall, Some(&self.row.model));
                self.client.refuse(refused).await;
            }
            Err(NotBegun::Journal(error)) => {
                // The row may have become durable yet: it gets its end.
                drop(self.finish(Outcome::EngineFailed, Spent::default(), None));
                self.client.refuse(error.into()).await;
            }
            Err(NotBegun::Engine(error)) => {
                let durable = self
                    .finish(Outcome::EngineFailed, Spent::default(), None)
                    .await;
                let error = durable.map_or(Error::JournalUnavailable, |()| error.into());
                self.client.refuse(error).await;
            }
        }
    }

    /// Dispatches the call while an engine already works on it. With a client's key the engine
    /// waits: a duplicate must not reach it.
    async fn begin(&self, seat: &mut Seat) -> Result<(Answer, AtWork), NotBegun> {
        let keyed = self.row.idempotency_key.is_some();
        let journal = &self.chat.journal;
        let dispatch = journal
            .dispatch(self.row.clone())
            .instrument(self.span.step(|| info_span!("inference.dispatch_commit")))
            .fuse();
        let engine = self
            .ask_engines(seat)
            .instrument(self.span.step(|| info_span!("inference.first_token")))
            .fuse();
        // Fused: each is dropped where it ends, and its span with it.
        tokio::pin!(dispatch, engine);
        let mut dispatched = false;
        let mut answer = None;
        loop {
            tokio::select! {
                biased;
                () = self.client.gone() => return Err(NotBegun::ClientGone),
                result = &mut dispatch, if !dispatched => {
                    result.map_err(NotBegun::Journal)?;
                    dispatched = true;
                }
                result = &mut engine, if answer.is_none() && (dispatched || !keyed) => {
                    answer = Some(result);
                }
            }
            if dispatched && let Some(answer) = answer.take() {
                return answer.map_err(NotBegun::Engine);
            }
        }
    }

    /// Asks engines until one begins to answer. A call for which none has room waits for its turn again and
    /// asks anew, as long as it may wait.
    async fn ask_engines(&self, seat: &mut Seat) -> Result<(Answer, AtWork), EngineError> {
        loop {
            let mut full = Vec::new();
            let error = match self.ask_each(seat, &mut full).await {
                // Also where a fallback failed after it.
                Err(error) if error.is_retryable() && !full.is_empty() => error,
                answer => return answer,
            };
            seat.take_again(&self.way, &full, error).await?;
        }
    }

    /// Asks engines of the model of which the call has its place, one after the other, until one begins to
    /// answer; then those of the fallbacks behind it, as far as the budget of further attempts allows. A model
    /// that is known to be ill as a whole is passed by. `full` gets the models of which no engine has room.
    async fn ask_each(
        &self,
        seat: &mut Seat,
        full: &mut Vec<usize>,
    ) -> Result<(Answer, AtWork), EngineError> {
        let most = self.chat.engine_config.max_attempts;
        let mut soonest = Soonest::default();
        let mut at = seat.at();
        loop {
            self.answers.store(at, Ordering::Relaxed);
            let model = self.model();
            let pool = &model.pool;
            let is_last = at == self.way.fallbacks.len();
            let before = self.attempts.load(Ordering::Relaxed);
            let asked = if !is_last && pool.pass_by(Instant::now()) {
                Err(EngineError::NoneWell)
            } else {
                let prompt = pool.prompt(self.body.prompt());
                let question = self.question(model);
                let count = || {
                    self.attempts.fetch_add(1, Ordering::Relaxed);
                    seat.arrived();
                };
                attempts::ask(&self.chat.engines, pool, &prompt, &question, most, count).await
            };
            seat.arrived();
            if matches!(asked, Err(EngineError::Busy { .. })) {
                full.push(at);
            }
            let error = match asked.map_err(|error| soonest.told(error)) {
                Err(error) if error.is_retryable() && !is_last => error,
                answer => return answer,
            };
            let was_asked = self.attempts.load(Ordering::Relaxed) > before;
            if was_asked && !pool.may_go_on() {
                return Err(error);
            }
            at += 1;
            went_on(model, self.way.model(at));
        }
    }

    /// The model that answers, as far as is known.
    pub(super) fn model(&self) -> &Arc<Model> {
        self.way.model(self.answers.load(Ordering::Relaxed))
    }

    /// Whose times and tokens its metrics are.
    pub(super) fn of(&self) -> Of<'_> {
        let (shape, answers) = (self.body.shape(), self.model());
        let (priced, answered) = (&*self.row.model, &*answers.config.name);
        Of {
            shape,
            priced,
            answered,
            kept: (priced == answered).then(|| answers.series.of(shape)),
        }
    }

    /// What a model's engines are asked.
    pub(super) fn question(&self, model: &Model) -> Question {
        let limit = Some(self.row.bound.output / self.body.answers_made());
        let config = &model.config;
        let (stream, bound) = (self.body.stream(), self.row.bound.output);
        let pieces = if stream {
            0
        } else {
            bound.max(self.body.prompts())
        };
        // Without a span of its own, the trace goes on from where it was dispatched.
        let traceparent = if self.span.is_recorded() {
            wanwu_events::traceparent(&Span::current())
        } else {
            self.row.traceparent.clone()
        };
        Question {
            shape: self.body.shape(),
            call_id: self.row.call_id,
            traceparent,
            body: self
                .body
                .engine_body(config.engine_model(), limit, config.continuous_usage),
            stream,
            pieces,
        }
    }

    /// What the client gets to see.
    pub(super) fn wishes(&self) -> Wishes {
        let config = &self.model().config;
        let renamed = config.engine_model() != config.name;
        Wishes {
            shape: self.body.shape(),
            answers: self.body.answers(),
            usage: self.body.include_usage(),
            continuous_usage: self.body.continuous_usage(),
            model: renamed.then(|| serde_json::Value::from(config.name.as_str()).to_string()),
            label: self.client.label.clone(),
        }
    }

    /// Sends the final row on its way; answers when it is durable.
    pub(super) fn finish(
        &mut self,
        outcome: Outcome,
        spent: Spent,
        violation: Option<String>,
    ) -> impl Future<Output = Result<(), NotDurable>> + use<> {
        let of = self.of();
        let completed = of.kept.filter(|_| outcome == Outcome::Completed);
        let calls = kept(completed.map(|kept| &kept.completed), || {
            metrics::counter!("inference_routing_calls",
                "outcome" => outcome.as_str(), "model" => self.row.model.clone(),
                "shape" => self.body.shape().name())
        });
        calls.increment(1);
        let (tokens, source) = self.bill(outcome, spent);
        self.times.ended(&of, outcome, tokens);
        let is_generated = self.body.shape().is_generated();
        self.span.ended(End {
            outcome,
            tokens,
            engine_model: self.model().config.engine_model(),
            answers: if is_generated { self.body.answers() } else { 0 },
            said: self.said.as_ref(),
        });
        let hold = self.got.take().map(|got| got.used(tokens));
        let row = Final {
            call: self.row.clone(),
            outcome,
            tokens,
            source,
            attempts: self.attempts.load(Ordering::Relaxed),
            finished_at: self.chat.clock.now(),
            violation,
            hold,
        };
        self.chat
            .journal
            .finish(row)
            .instrument(self.span.step(|| info_span!("inference.final_commit")))
    }

    /// The error frame for an engine that broke off.
    pub(super) fn engine_failed(&self) -> Item {
        error_item(
            self.body.shape(),
            "engine_failed",
            "the engine broke off; what was sent is billed",
        )
    }

    /// The error frame in place of a last frame that cannot be stood for.
    pub(super) fn journal_failed(&self) -> Item {
        error_item(
            self.body.shape(),
            "journal_unavailable",
            "the end of the call could not be recorded in time",
        )
    }
}

impl Got {
    /// The call used so many tokens: its place is given on and the rest of its limits. What is
    /// held waits for the final row.
    fn used(mut self, tokens: Tokens) -> Hold {
        let tokens = tokens.input.saturating_add(tokens.output);
        self.permit.used(tokens);
        self.seat.served(tokens);
        self.hold
    }
}

fn error_item(shape: Shape, code: &str, message: &str) -> Item {
    let mut json = serde_json::json!({"error": {
        "message": message, "type": "server_error", "param": null, "code": code,
    }});
    if shape.has_typed_events() {
        // As its events have it; the official clients look at `error`.
        json["type"] = "error".into();
        json["code"] = code.into();
        json["message"] = message.into();
    }
    Item::Error(Bytes::from(json.to_string()))
}
