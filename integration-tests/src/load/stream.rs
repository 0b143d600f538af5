use std::time::Duration;

use anyhow::bail;
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, task::JoinHandle, time::Instant};

use super::{Target, call_id, trace_id};

/// One streamed answer on a connection of its own.
#[derive(Debug)]
pub struct Stream {
    /// The call, where the answer names one.
    pub call_id: Option<String>,
    /// The trace, where the answer names one.
    pub trace_id: Option<String>,
    begun: Instant,
    body: Incoming,
    unread: BytesMut,
    connection: JoinHandle<Result<(), hyper::Error>>,
}

/// One event of a stream.
#[derive(Clone, Debug)]
pub struct Event {
    /// What follows `data: `.
    pub data: Bytes,
    /// Since the request was sent.
    pub at: Duration,
}

impl Stream {
    /// Sends a request and waits for the head of its answer.
    ///
    /// # Errors
    /// When the connection fails or the answer is no success.
    pub async fn open(target: &Target) -> anyhow::Result<Self> {
        let socket = TcpStream::connect(&target.authority).await?;
        socket.set_nodelay(true)?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(socket)).await?;
        let connection = tokio::spawn(connection);
        let begun = Instant::now();
        let response = sender.send_request(target.request()?).await?;
        let (head, body) = response.into_parts();
        if !head.status.is_success() {
            let said = body.collect().await?.to_bytes();
            bail!("{}: {}", head.status, String::from_utf8_lossy(&said));
        }
        Ok(Self {
            call_id: call_id(&head.headers),
            trace_id: trace_id(&head.headers),
            begun,
            body,
            unread: BytesMut::new(),
            connection,
        })
    }

    /// The next event; none: the stream ended. Comments are passed over.
    ///
    /// # Errors
    /// When the connection breaks.
    pub async fn next(&mut self) -> anyhow::Result<Option<Event>> {
        loop {
            if let Some(data) = take_event(&mut self.unread) {
                let at = self.begun.elapsed();
                return Ok(Some(Event { data, at }));
            }
            match self.body.frame().await {
                None => return Ok(None),
                Some(frame) => self
                    .unread
                    .extend_from_slice(&frame?.into_data().unwrap_or_default()),
            }
        }
    }

    /// Every event to the end.
    ///
    /// # Errors
    /// When the connection breaks.
    pub async fn all(mut self) -> anyhow::Result<Vec<Event>> {
        let mut events = Vec::new();
        while let Some(event) = self.next().await? {
            events.push(event);
        }
        Ok(events)
    }

    /// Closes the connection at once, as a client does that goes away.
    pub fn hang_up(self) {
        self.connection.abort();
    }
}

/// Takes the data of the next event from what was read; none: no event is whole. Comments are passed
/// over.
pub(crate) fn take_event(unread: &mut BytesMut) -> Option<Bytes> {
    while let Some(end) = unread.windows(2).position(|two| two == b"\n\n") {
        let event = unread.split_to(end + 2).freeze();
        if let Some(data) = event.strip_prefix(b"data: ".as_slice()) {
            return Some(Bytes::copy_from_slice(&data[..data.len() - 2]));
        }
    }
    None
}

impl Event {
    /// The text that a chunk of a chat completion adds; empty where it adds none.
    #[must_use]
    pub fn text(&self) -> String {
        let content = &self.chunk()["choices"][0]["delta"]["content"];
        content.as_str().unwrap_or_default().to_owned()
    }

    /// How long it was on its way, its request's way to the engine included: an engine that stamps its
    /// chunks says how long after the request it made each.
    #[must_use]
    pub fn on_the_way(&self) -> Option<Duration> {
        let made = self.chunk()["wanwu_micros"].as_u64()?;
        Some(self.at.saturating_sub(Duration::from_micros(made)))
    }

    fn chunk(&self) -> serde_json::Value {
        serde_json::from_slice(&self.data).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_taken_when_they_are_whole_and_comments_never() {
        let mut unread = BytesMut::from(": keep-alive\n\ndata: a\n\ndata: b\n");
        assert_eq!(take_event(&mut unread), Some(Bytes::from_static(b"a")));
        assert_eq!(take_event(&mut unread), None);
        unread.extend_from_slice(b"\n");
        assert_eq!(take_event(&mut unread), Some(Bytes::from_static(b"b")));
        assert!(unread.is_empty());
    }
}
