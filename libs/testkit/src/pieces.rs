use std::{mem, pin::pin};

use bytes::Bytes;
use futures::{Stream, StreamExt};
use serde::Deserialize;
use tokio::task::yield_now;

/// How an engine of a test writes the events of a stream: the same events, in other bytes. By default each
/// is written as it is, in a piece of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Pieces {
    /// So many events are put together before they are written; 0 is as 1.
    pub together: usize,
    /// What is written is cut into pieces of 1 to so many bytes, inside lines and characters too; 0: it is
    /// not cut.
    pub most_bytes: usize,
    /// Lines end with `\r\n`.
    pub crlf: bool,
    /// Data is spread over lines, broken before the commas and the closing braces of its JSON.
    pub lines: bool,
    /// Comments stand before events and inside them, and a field that nobody needs.
    pub comments: bool,
}

/// Writes one stream.
struct Writer {
    pieces: Pieces,
    /// What is not written yet, and of how many events it is.
    waiting: Vec<u8>,
    events: usize,
    /// Pieces that were cut: their lengths look like chance, and are the same each time.
    cut: u64,
}

impl Pieces {
    /// Events, each whole with the empty line that ends it, as they are written. Between two pieces the
    /// stream has nothing for a moment, so that a server sends each in a write of its own.
    pub fn write<E>(
        self,
        events: impl Stream<Item = Result<Bytes, E>>,
    ) -> impl Stream<Item = Result<Bytes, E>> {
        async_stream::stream! {
            let mut writer = Writer::new(self);
            let mut events = pin!(events);
            loop {
                let event = events.next().await;
                let pieces = match &event {
                    Some(Ok(event)) => writer.take(event),
                    // What waits for more events goes before the stream ends or breaks.
                    Some(Err(_)) | None => writer.rest(),
                };
                for piece in pieces {
                    yield Ok(Bytes::from(piece));
                    yield_now().await;
                }
                match event {
                    Some(Ok(_)) => {}
                    Some(Err(error)) => {
                        yield Err(error);
                        return;
                    }
                    None => return,
                }
            }
        }
    }
}

impl Writer {
    const fn new(pieces: Pieces) -> Self {
        Self {
            pieces,
            waiting: Vec::new(),
            events: 0,
            cut: 0,
        }
    }

    /// Takes an event; answers the pieces that are written now.
    fn take(&mut self, event: &[u8]) -> Vec<Vec<u8>> {
        self.put(event);
        self.events += 1;
        if self.events < self.pieces.together {
            return Vec::new();
        }
        self.rest()
    }

    /// Everything that waits.
    fn rest(&mut self) -> Vec<Vec<u8>> {
        self.events = 0;
        let whole = mem::take(&mut self.waiting);
        let (mut pieces, mut left) = (Vec::new(), whole.as_slice());
        while !left.is_empty() {
            let (piece, after) = left.split_at(self.length(left.len()));
            pieces.push(piece.to_vec());
            left = after;
        }
        pieces
    }

    /// The length of the next piece of so many bytes.
    fn length(&mut self, left: usize) -> usize {
        if self.pieces.most_bytes == 0 {
            return left;
        }
        self.cut += 1;
        let chance = (self.cut.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as usize;
        (1 + chance % self.pieces.most_bytes).min(left)
    }

    fn put(&mut self, event: &[u8]) {
        let mut lines: Vec<Vec<u8>> = Vec::new();
        for line in event.split(|byte| *byte == b'\n') {
            match line.strip_prefix(b"data: ".as_slice()) {
                Some(data) if self.pieces.lines => lines.extend(spread(data)),
                _ if line.is_empty() => {}
                _ => lines.push(line.to_vec()),
            }
        }
        if self.pieces.comments {
            self.line(b": still here");
            self.line(b"");
        }
        for line in &lines {
            self.line(line);
            if self.pieces.comments {
                self.line(b": between two lines");
            }
        }
        if self.pieces.comments {
            self.line(b"id: 7");
        }
        self.line(b"");
    }

    fn line(&mut self, line: &[u8]) {
        let end = if self.pieces.crlf { "\r\n" } else { "\n" };
        self.waiting.extend_from_slice(line);
        self.waiting.extend_from_slice(end.as_bytes());
    }
}

/// Data in several lines, none of which ends inside a string.
fn spread(data: &[u8]) -> Vec<Vec<u8>> {
    let (mut lines, mut line) = (Vec::new(), b"data: ".to_vec());
    let (mut quoted, mut escaped) = (false, false);
    for &byte in data {
        if !quoted && matches!(byte, b',' | b'}') {
            // The space after the colon may be there or not.
            lines.push(mem::replace(&mut line, b"data:".to_vec()));
        }
        line.push(byte);
        if byte == b'"' && !escaped {
            quoted = !quoted;
        }
        escaped = byte == b'\\' && !escaped;
    }
    lines.push(line);
    lines
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures::{TryStreamExt, stream};

    use super::*;

    const EVENTS: [&str; 3] = [
        "data: {\"a\":\"北京的秋天🍂, \\\"}\\\\\",\"b\":[1,2]}\n\n",
        "event: x\ndata: {\"c\":\"京\"}\n\n",
        "data: [DONE]\n\n",
    ];

    async fn written(pieces: Pieces) -> Vec<String> {
        let written = written_bytes(pieces).await.into_iter();
        written
            .map(|piece| String::from_utf8(piece.to_vec()).unwrap())
            .collect()
    }

    async fn written_bytes(pieces: Pieces) -> Vec<Bytes> {
        let events = EVENTS.map(|event| Ok::<_, Infallible>(Bytes::from_static(event.as_bytes())));
        let written = pieces.write(stream::iter(events));
        written.try_collect().await.unwrap()
    }

    #[tokio::test]
    async fn an_event_is_a_piece_unless_something_else_is_asked_for() {
        assert_eq!(written(Pieces::default()).await, EVENTS);
        let together = Pieces {
            together: 2,
            ..Pieces::default()
        };
        let [first, second, third] = EVENTS;
        assert_eq!(
            written(together).await,
            [[first, second].concat(), third.to_owned()]
        );
    }

    #[tokio::test]
    async fn pieces_are_cut_inside_characters_and_lose_nothing() {
        for most_bytes in [1, 2, 7, 100] {
            let pieces = Pieces {
                most_bytes,
                ..Pieces::default()
            };
            let written = written_bytes(pieces).await;
            let all: Vec<u8> = written.iter().flatten().copied().collect();
            assert_eq!(all, EVENTS.concat().as_bytes());
            let mut lengths = written.iter().map(Bytes::len);
            assert!(lengths.all(|length| (1..=most_bytes).contains(&length)));
            let cut = written.iter().any(|piece| str::from_utf8(piece).is_err());
            assert!(cut || most_bytes == 100, "{most_bytes}: {written:?}");
        }
    }

    #[tokio::test]
    async fn lines_are_broken_between_what_json_is_made_of() {
        let lines = Pieces {
            lines: true,
            ..Pieces::default()
        };
        let expected = [
            "data: {\"a\":\"北京的秋天🍂, \\\"}\\\\\"\ndata:,\"b\":[1\ndata:,2]\ndata:}\n\n",
            "event: x\ndata: {\"c\":\"京\"\ndata:}\n\n",
            "data: [DONE]\n\n",
        ];
        assert_eq!(written(lines).await, expected);
        let commented = Pieces {
            comments: true,
            crlf: true,
            ..Pieces::default()
        };
        assert_eq!(
            written(commented).await[1],
            ": still here\r\n\r\nevent: x\r\n: between two lines\r\ndata: {\"c\":\"京\"}\r\n\
             : between two lines\r\nid: 7\r\n\r\n"
        );
    }

    #[tokio::test]
    async fn what_waits_for_more_is_written_before_a_stream_breaks() {
        let together = Pieces {
            together: 9,
            ..Pieces::default()
        };
        let events = [Ok(Bytes::from_static(b"data: 1\n\n")), Err("broken")];
        let written: Vec<_> = together.write(stream::iter(events)).collect().await;
        assert_eq!(
            written,
            [Ok(Bytes::from_static(b"data: 1\n\n")), Err("broken")]
        );
    }
}
