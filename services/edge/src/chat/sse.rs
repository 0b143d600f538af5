//! Server-sent events: each frame is sent when it comes.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::{BufMut, Bytes, BytesMut};
use http_body::{Body, SizeHint};
use tokio::time::{Instant, Sleep, sleep};
use tonic::Status;

use super::frames::{Content, Frame, Frames};
use crate::openai_error;

/// The body of a streamed answer.
pub(super) struct Events {
    first: Option<Frame>,
    frames: Frames,
    /// Wakes when the silence may have lasted too long.
    alarm: Pin<Box<Sleep>>,
    keep_alive: Duration,
    spoke: Instant,
    /// Events are put together here: one copy of a few hundred bytes costs less than the three
    /// writes of framing them in place.
    buffer: BytesMut,
    /// `[DONE]` says that all went well.
    done: bool,
    ended: bool,
}

const BUFFER: usize = 16 << 10;
const EVENT: &[u8] = b"event: ";
const DATA: &[u8] = b"data: ";
const END: &[u8] = b"\n\n";
const DONE: &[u8] = b"data: [DONE]\n\n";
const COMMENT: &[u8] = b": keep-alive\n\n";

impl Events {
    /// Without `done` the last event itself says that all went well.
    pub(super) fn new(first: Frame, frames: Frames, keep_alive: Duration, done: bool) -> Self {
        Self {
            first: Some(first),
            frames,
            alarm: Box::pin(sleep(keep_alive)),
            keep_alive,
            spoke: Instant::now(),
            buffer: BytesMut::with_capacity(BUFFER),
            done,
            ended: false,
        }
    }

    /// The first frame is long in coming: a comment is due at once.
    pub(super) fn silent(frames: Frames, keep_alive: Duration, done: bool) -> Self {
        let now = Instant::now();
        Self {
            first: None,
            frames,
            alarm: Box::pin(sleep(Duration::ZERO)),
            keep_alive,
            spoke: now.checked_sub(keep_alive).unwrap_or(now),
            buffer: BytesMut::with_capacity(BUFFER),
            done,
            ended: false,
        }
    }

    /// Puts everything that is there into the buffer.
    fn gather(&mut self, task: &mut Context<'_>) {
        if let Some(frame) = self.first.take() {
            self.put(&frame);
        }
        while !self.ended && self.buffer.len() < BUFFER {
            match self.frames.poll_next(task) {
                Poll::Pending => return,
                Poll::Ready(Ok(Some(frame))) => self.put(&frame),
                Poll::Ready(Ok(None)) => {
                    if self.done {
                        self.buffer.put_slice(DONE);
                    }
                    self.ended = true;
                }
                Poll::Ready(Err(status)) => {
                    let name = if self.done { "" } else { "error" };
                    let json = openai_error::event(&status);
                    put_event(&mut self.buffer, name, json.as_bytes());
                    self.ended = true;
                }
            }
        }
    }

    fn put(&mut self, frame: &Frame) {
        let (Content::Data(json) | Content::Error(json)) = &frame.content;
        put_event(&mut self.buffer, &frame.event, json);
        // It ends the stream; `[DONE]` would say that all went well.
        self.ended = matches!(frame.content, Content::Error(_));
    }

    /// The silence lasted too long.
    fn is_silent(&mut self, task: &mut Context<'_>) -> bool {
        while self.alarm.as_mut().poll(task).is_ready() {
            let due = self.spoke + self.keep_alive;
            if due <= Instant::now() {
                return true;
            }
            self.alarm.as_mut().reset(due);
        }
        false
    }
}

/// An event; a line break in the data would end it.
fn put_event(buffer: &mut BytesMut, name: &str, json: &[u8]) {
    buffer.reserve(json.len() + name.len() + EVENT.len() + DATA.len() + END.len());
    if !name.is_empty() {
        buffer.put_slice(EVENT);
        buffer.put_slice(name.as_bytes());
        buffer.put_u8(b'\n');
    }
    buffer.put_slice(DATA);
    let mut lines = json.split(|&byte| byte == b'\n');
    buffer.put_slice(lines.next().unwrap_or_default());
    for line in lines {
        buffer.put_u8(b'\n');
        buffer.put_slice(DATA);
        buffer.put_slice(line);
    }
    buffer.put_slice(END);
}

impl Body for Events {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        task: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, Status>>> {
        let this = self.get_mut();
        this.gather(task);
        if this.buffer.is_empty() {
            if this.ended {
                return Poll::Ready(None);
            }
            if !this.is_silent(task) {
                return Poll::Pending;
            }
            this.buffer.put_slice(COMMENT);
        }
        // The alarm is set anew only when it rings: that is rarer than frames are.
        this.spoke = Instant::now();
        Poll::Ready(Some(Ok(http_body::Frame::data(
            this.buffer.split().freeze(),
        ))))
    }

    fn is_end_stream(&self) -> bool {
        self.ended && self.buffer.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}
