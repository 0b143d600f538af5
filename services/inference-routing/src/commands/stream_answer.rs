//! A streamed answer, frame by frame.

use std::{pin::Pin, sync::Arc};

use bytes::Bytes;
use tokio::time::{Instant, Sleep, sleep_until, timeout, timeout_at};
use tracing::{Instrument, field::Empty, info_span};

use super::{
    client::{Gone, Item},
    gen_ai::Gaps,
    run_call::Call,
};
use crate::{
    domain::{
        answer::{Answer, Frame, Spent, Stop},
        placement::Ending,
        usage::Outcome,
    },
    engine::{EngineError, at_work::AtWork, client::Events},
    journal::Progress,
};

/// How a stream ended.
enum End {
    Completed,
    ClientGone,
    Violation(String),
    Cut(EngineError),
}

impl End {
    /// As traces show it.
    const fn name(&self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::ClientGone => "client_gone",
            Self::Violation(_) => "content_stopped",
            Self::Cut(_) => "cut",
        }
    }
}

/// What was recorded of a stream, and the times between its chunks.
struct Meter {
    recorded: u64,
    /// When progress is due.
    alarm: Pin<Box<Sleep>>,
    gaps: Gaps,
}

impl Call {
    /// Sends the answer on as it comes, then writes the final row, then sends the last frame.
    pub(super) async fn stream(&mut self, first: Bytes, mut events: Events, at_work: AtWork) {
        let screen = Arc::clone(&self.chat.screen);
        let mut answer = Answer::new(&screen, self.wishes());
        if self.model().tokenizer.is_some() {
            answer = answer.keeping_text();
        }
        if self.span.is_recorded() {
            answer = answer.keeping_id();
        }
        let mut meter = Meter {
            recorded: 0,
            alarm: Box::pin(sleep_until(self.next_progress())),
            gaps: Gaps::default(),
        };
        // What the client will have got when it has taken everything that is on its way.
        let mut sent = Spent::default();
        let deadline = Instant::now() + self.chat.engine_config.call_timeout;
        let span = self.span.step(|| {
            info_span!(
                "inference.stream",
                engine.url = at_work.engine().url,
                stream.end = Empty,
                screen.class = Empty
            )
        });
        let relayed = self
            .relay(first, &mut events, &mut answer, &mut meter, &mut sent)
            .instrument(span.clone());
        let mut end = match timeout_at(deadline, relayed).await {
            Ok(end) => end,
            Err(_) => End::Cut(EngineError::TooLong),
        };
        span.record("stream.end", end.name());
        if let End::Violation(class) = &end {
            span.record("screen.class", class);
        }
        drop(span);
        meter.gaps.tell(&self.of());
        if let End::Completed = end {
            events.release();
        } else {
            // Nobody listens any more: the engine sees its connection close.
            drop(events);
        }
        at_work.end(match &end {
            End::Completed => Ending::Well,
            End::Cut(error) => error.ending(),
            End::ClientGone | End::Violation(_) => Ending::Unknown,
        });
        if let End::Cut(_) = end {
            for frame in answer.cut() {
                if self.send(frame, &mut meter, &mut sent).await.is_err() {
                    end = End::ClientGone;
                    break;
                }
            }
        }
        self.said = Some(answer.said());
        self.end_stream(end, &mut answer, &mut meter, sent).await;
    }

    async fn relay(
        &self,
        first: Bytes,
        events: &mut Events,
        answer: &mut Answer<'_>,
        meter: &mut Meter,
        sent: &mut Spent,
    ) -> End {
        let mut event = first;
        let mut came = Instant::now();
        loop {
            if event.as_ref() == b"[DONE]" {
                // What has an event for its end has not ended without it.
                return match self.body.shape().has_typed_events() {
                    true => End::Cut(EngineError::Cut),
                    false => End::Completed,
                };
            }
            let frames = match answer.push(&event) {
                Ok(frames) => frames,
                Err(Stop::Violation(class)) => return End::Violation(class),
                Err(Stop::EngineError) => return End::Cut(EngineError::Cut),
                Err(Stop::Nonsense(error)) => return End::Cut(EngineError::Nonsense(error.into())),
            };
            if answer.spoke() {
                meter.gaps.chunk(came);
            }
            for frame in frames {
                if self.send(frame, meter, sent).await.is_err() {
                    return End::ClientGone;
                }
            }
            if answer.is_over() {
                return End::Completed;
            }
            event = match self.next_event(events, meter).await {
                Ok(Ok(Some(event))) => event,
                Ok(Ok(None)) if answer.is_finished() => return End::Completed,
                Ok(Ok(None)) => return End::Cut(EngineError::Cut),
                Ok(Err(error)) => return End::Cut(error),
                Err(Gone) => return End::ClientGone,
            };
            came = Instant::now();
        }
    }

    async fn next_event(
        &self,
        events: &mut Events,
        meter: &mut Meter,
    ) -> Result<Result<Option<Bytes>, EngineError>, Gone> {
        let next = events.next();
        tokio::pin!(next);
        loop {
            tokio::select! {
                biased;
                () = self.client.gone() => return Err(Gone),
                event = &mut next => return Ok(event),
                () = meter.alarm.as_mut() => self.record(meter, true),
            }
        }
    }

    /// Sends a frame when there is room for it. A client that makes none for too long is taken for
    /// one that went away.
    async fn send(&self, frame: Frame, meter: &mut Meter, sent: &mut Spent) -> Result<(), Gone> {
        if self.client.is_full() {
            meter.gaps.held_up();
        }
        let mut waits_since = None;
        loop {
            tokio::select! {
                biased;
                room = self.client.room() => {
                    *sent = frame.spent;
                    room?.send(Ok(Item::Data(frame)));
                    break;
                }
                () = meter.alarm.as_mut() => self.record(meter, true),
            }
            // Looked at when progress is due anyway: a frame that has room costs no timer.
            let since = *waits_since.get_or_insert_with(Instant::now);
            if since.elapsed() >= self.chat.config.stall_timeout {
                metrics::counter!("inference_routing_stalled_streams").increment(1);
                self.client.give_up();
                return Err(Gone);
            }
        }
        self.record(meter, false);
        Ok(())
    }

    /// Records what the client took, when a window of tokens or of time is over.
    fn record(&self, meter: &mut Meter, time_is_over: bool) {
        let delivered = self.client.delivered().tokens;
        let unrecorded = delivered.output.saturating_sub(meter.recorded);
        if unrecorded >= self.chat.config.progress_tokens || (time_is_over && unrecorded > 0) {
            let tokens = self.with_input(delivered);
            self.chat.journal.progress(Progress {
                call_id: self.row.call_id,
                tokens,
            });
            meter.recorded = delivered.output;
            meter.alarm.as_mut().reset(self.next_progress());
        } else if time_is_over {
            meter.alarm.as_mut().reset(self.next_progress());
        }
    }

    fn next_progress(&self) -> Instant {
        Instant::now() + self.chat.config.progress_every
    }

    async fn end_stream(
        &mut self,
        end: End,
        answer: &mut Answer<'_>,
        meter: &mut Meter,
        mut sent: Spent,
    ) {
        let last = match end {
            End::ClientGone => {
                let (gone, delivered) = (Outcome::ClientGone, self.client.delivered());
                let delivered = self.counted(gone, delivered, answer.told()).await;
                drop(self.finish(gone, delivered, None));
                return;
            }
            End::Completed => {
                let mut frames = answer.finish();
                let last = frames.pop();
                for frame in frames {
                    // Who leaves now has had his answer.
                    if self.send(frame, meter, &mut sent).await.is_err() {
                        break;
                    }
                }
                let (completed, spent) = (Outcome::Completed, answer.spent());
                let spent = self.counted(completed, spent, answer.told()).await;
                let durable = self.finish(completed, spent, None).await;
                durable.map(|()| last.map(Item::Data))
            }
            End::Violation(class) => {
                metrics::counter!("inference_routing_violations", "side" => "output").increment(1);
                let last = answer.stopped(sent);
                let stopped = Outcome::ContentStopped;
                let sent = self.counted(stopped, sent, answer.told()).await;
                let durable = self.finish(stopped, sent, Some(class)).await;
                durable.map(|()| Some(Item::Data(last)))
            }
            End::Cut(error) => {
                tracing::info!(call.id = %self.row.call_id, error = &error as &dyn std::error::Error, "an answer was cut");
                let failed = Outcome::EngineFailed;
                let sent = self.counted(failed, sent, answer.told()).await;
                let durable = self.finish(failed, sent, None).await;
                durable.map(|()| Some(self.engine_failed()))
            }
        };
        if let Some(item) = last.unwrap_or_else(|_| Some(self.journal_failed())) {
            let _ = timeout(self.chat.config.stall_timeout, self.client.send(item)).await;
        }
    }
}
