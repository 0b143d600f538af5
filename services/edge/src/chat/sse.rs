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
    ended: bool,
}

const BUFFER: usize = 16 << 10;
const DATA: &[u8] = b"data: ";
const END: &[u8] = b"\n\n";
const DONE: &[u8] = b"data: [DONE]\n\n";
const COMMENT: &[u8] = b": keep-alive\n\n";

impl Events {
    pub(super) fn new(first: Frame, frames: Frames, keep_alive: Duration) -> Self {
        Self {
            first: Some(first),
            frames,
            alarm: Box::pin(sleep(keep_alive)),
            keep_alive,
            spoke: Instant::now(),
            buffer: BytesMut::with_capacity(BUFFER),
            ended: false,
        }
    }

    /// Puts everything that is there into the buffer.
    fn gather(&mut self, task: &mut Context<'_>) {
        if let Some(Frame { content, .. }) = self.first.take() {
            self.put(content);
        }
        while !self.ended && self.buffer.len() < BUFFER {
            match self.frames.poll_next(task) {
                Poll::Pending => return,
                Poll::Ready(Ok(Some(frame))) => self.put(frame.content),
                Poll::Ready(Ok(None)) => {
                    self.buffer.put_slice(DONE);
                    self.ended = true;
                }
                Poll::Ready(Err(status)) => {
                    put_event(&mut self.buffer, openai_error::event(&status).as_bytes());
                    self.ended = true;
                }
            }
        }
    }

    fn put(&mut self, content: Content) {
        match content {
            Content::Data(json) => put_event(&mut self.buffer, &json),
            // It ends the stream; `[DONE]` would say that all went well.
            Content::Error(json) => {
                put_event(&mut self.buffer, &json);
                self.ended = true;
            }
        }
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
fn put_event(buffer: &mut BytesMut, json: &[u8]) {
    buffer.reserve(json.len() + DATA.len() + END.len());
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
        if this.ended {
            return Poll::Ready(None);
        }
        this.gather(task);
        if this.buffer.is_empty() {
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
