use std::{
    io,
    time::{Duration, Instant},
};

use axum::body::Bytes;
use futures::Stream;
use serde_json::Value;

use super::{
    Script,
    batch::Running,
    call::{Call, StreamOptions},
    shape::Shape,
    truth::{Ending, Record},
};

/// The frames of a streamed answer.
pub(super) struct Frames {
    shape: Shape,
    tokens: Vec<String>,
    finish: String,
    script: Script,
    options: StreamOptions,
    record: Record,
    running: Option<Running>,
    came: Instant,
}

impl Frames {
    pub(super) fn new(
        shape: Shape,
        text: &[String],
        finish: &str,
        call: Call,
        record: Record,
    ) -> Self {
        Self {
            shape,
            tokens: text.to_vec(),
            finish: finish.to_owned(),
            script: call.wanwu_script,
            options: call.stream_options,
            record,
            running: call.running,
            came: call.came,
        }
    }

    /// A document with the usage up to it and the time of its making, where those are wanted.
    fn frame(&self, mut document: Value, sent: u64) -> Bytes {
        if self.options.continuous_usage_stats && !self.script.no_usage && self.shape.has_done() {
            document["usage"] = self.usage(sent);
        }
        if self.script.stamped {
            let micros = u64::try_from(self.came.elapsed().as_micros());
            document["wanwu_micros"] = micros.unwrap_or(u64::MAX).into();
        }
        self.shape.frame(&document)
    }

    fn usage(&self, sent: u64) -> Value {
        self.shape
            .usage(&self.script, self.record.prompt_tokens(), sent)
    }

    pub(super) fn into_stream(mut self) -> impl Stream<Item = io::Result<Bytes>> {
        async_stream::stream! {
            pause(self.script.first_delay_ms).await;
            for document in self.shape.beginning() {
                yield Ok(self.frame(document, 0));
            }
            let mut sent = 0;
            for index in 0..self.tokens.len() {
                if self.script.cut_after == Some(sent as u32) {
                    self.record.end(Ending::Cut);
                    // What was given away leaves before the connection breaks.
                    pause(50).await;
                    yield Err(io::Error::other("as scripted"));
                    return;
                }
                if self.script.garbage_after == Some(sent as u32) {
                    yield Ok(Bytes::from_static(b"data: <html>\xff\n\n"));
                }
                if self.script.hang_after == Some(sent as u32) {
                    std::future::pending::<()>().await;
                }
                pause(self.script.delay_ms).await;
                if let Some(running) = &mut self.running {
                    running.frame(index, self.tokens.len()).await;
                }
                sent += 1;
                let piece = self.shape.piece(&self.tokens[index], sent);
                // Counted before it is given away: what the peer has got is never above this.
                self.record.sent(sent);
                yield Ok(self.frame(piece, sent));
            }
            // The responses API tells it unasked.
            let asked = self.options.include_usage || !self.shape.has_done();
            let usage = (asked && !self.script.no_usage).then(|| self.usage(sent));
            let mut ending = self.shape.ending(&self.tokens.concat(), &self.finish, usage);
            let last = if self.shape.has_done() { None } else { ending.pop() };
            for document in ending {
                yield Ok(match document.get("usage") {
                    Some(_) => self.shape.frame(&document),
                    None => self.frame(document, sent),
                });
            }
            // Ended before the peer can see the end: who reads it finds it written down.
            self.record.end(Ending::Finished);
            yield Ok(match last {
                Some(last) => self.shape.frame(&last),
                None => Bytes::from_static(b"data: [DONE]\n\n"),
            });
        }
    }
}

async fn pause(millis: u64) {
    if millis > 0 {
        tokio::time::sleep(Duration::from_millis(millis)).await;
    }
}
