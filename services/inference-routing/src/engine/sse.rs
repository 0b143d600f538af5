//! Server-sent events, read as they come: any chunking, lines that end with `\n`, `\r\n` or `\r`, a byte order
//! mark before the first, comments, events of several data lines. Data of one line that arrived in one piece is
//! not copied.

use bytes::{Buf, Bytes, BytesMut};

/// Reads events out of bytes.
#[derive(Debug)]
pub struct SseReader {
    buffer: BytesMut,
    /// Bytes of the buffer that are known to hold no line end.
    scanned: usize,
    /// Data lines of the event that is being read.
    data: Option<BytesMut>,
    limit: usize,
    before: Before,
}

/// What may come before the next line and is no part of it.
#[derive(Clone, Copy, Debug)]
enum Before {
    /// A byte order mark: nothing was read yet.
    Mark,
    /// A line feed: the line before ended with `\r`, which may be half of its end.
    Feed,
    Nothing,
}

/// An event is longer than the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the engine sent an event that is too long")]
pub struct EventTooLong;

impl SseReader {
    /// The lines of events, without their ends, and their data may have `limit` bytes at most.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self {
            buffer: BytesMut::new(),
            scanned: 0,
            data: None,
            limit,
            before: Before::Mark,
        }
    }

    /// Takes more bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The data of the next whole event; none: more bytes are needed.
    pub fn next_event(&mut self) -> Result<Option<Bytes>, EventTooLong> {
        while let Some(mut line) = self.next_line()? {
            if line.is_empty() {
                match self.data.take() {
                    Some(data) => return Ok(Some(data.freeze())),
                    None => continue,
                }
            }
            let Some(rest) = line.strip_prefix(b"data".as_slice()) else {
                continue;
            };
            let skip = match rest {
                [b':', b' ', ..] => 6,
                [b':', ..] => 5,
                [] => 4,
                _ => continue,
            };
            line.advance(skip);
            match &mut self.data {
                None => self.data = Some(line),
                Some(data) => {
                    if data.len() + line.len() >= self.limit {
                        return Err(EventTooLong);
                    }
                    data.extend_from_slice(b"\n");
                    data.extend_from_slice(&line);
                }
            }
        }
        Ok(None)
    }

    fn next_line(&mut self) -> Result<Option<BytesMut>, EventTooLong> {
        if !self.skip() {
            return Ok(None);
        }
        let mut rest = self.buffer[self.scanned..].iter();
        let end = rest.position(|byte| matches!(byte, b'\n' | b'\r'));
        let length = end.map_or(self.buffer.len(), |end| self.scanned + end);
        if length > self.limit {
            return Err(EventTooLong);
        }
        if end.is_none() {
            self.scanned = length;
            return Ok(None);
        }
        let line = self.buffer.split_to(length);
        self.scanned = 0;
        self.before = match self.buffer.get_u8() {
            b'\r' => Before::Feed,
            _ => Before::Nothing,
        };
        Ok(Some(line))
    }

    /// Leaves out what comes before a line; false: it takes more bytes to know it.
    fn skip(&mut self) -> bool {
        let what: &[u8] = match self.before {
            Before::Mark => b"\xef\xbb\xbf",
            Before::Feed => b"\n",
            Before::Nothing => return true,
        };
        let known = what.len().min(self.buffer.len());
        if self.buffer[..known] == what[..known] {
            if known < what.len() {
                return false;
            }
            self.buffer.advance(known);
        }
        self.before = Before::Nothing;
        true
    }
}

#[cfg(test)]
mod tests {
    use rand::{Rng as _, SeedableRng as _};

    use super::*;

    const STREAM: &str = ": hello\n\ndata: {\"a\":1}\r\n\r\ndata:two\ndata: lines\nid: 7\n\nevent: x\n\nretry: 1\ndata\n\ndatax: no\n\ndata: [DONE]\n\n";
    const EVENTS: [&str; 4] = ["{\"a\":1}", "two\nlines", "", "[DONE]"];

    fn read_all(chunks: impl Iterator<Item = Vec<u8>>) -> Vec<String> {
        let mut reader = SseReader::new(1024);
        let mut events = Vec::new();
        for chunk in chunks {
            reader.push(&chunk);
            while let Some(data) = reader.next_event().unwrap() {
                events.push(String::from_utf8(data.to_vec()).unwrap());
            }
        }
        events
    }

    #[test]
    fn events_are_the_same_however_the_bytes_are_cut() {
        for size in 1..=STREAM.len() {
            let chunks = STREAM.as_bytes().chunks(size).map(<[u8]>::to_vec);
            assert_eq!(read_all(chunks), EVENTS, "chunks of {size}");
        }
        for seed in 0..200 {
            let mut chance = rand_chacha::ChaCha20Rng::seed_from_u64(seed);
            let mut rest = STREAM.as_bytes();
            let mut chunks = Vec::new();
            while !rest.is_empty() {
                let (chunk, after) = rest.split_at(chance.random_range(1..=rest.len().min(9)));
                chunks.push(chunk.to_vec());
                rest = after;
            }
            assert_eq!(read_all(chunks.into_iter()), EVENTS, "seed {seed}");
        }
    }

    #[test]
    fn lines_may_end_with_cr_alone_and_a_byte_order_mark_may_come_first() {
        const STREAM: &str =
            "\u{feff}: hello\r\rdata: one\rdata: two\r\r\ndata\r\n\r\ndata: \u{feff}three\n\r";
        const EVENTS: [&str; 3] = ["one\ntwo", "", "\u{feff}three"];
        for size in 1..=STREAM.len() {
            let chunks = STREAM.as_bytes().chunks(size).map(<[u8]>::to_vec);
            assert_eq!(read_all(chunks), EVENTS, "chunks of {size}");
        }
        // It is told as soon as its last line ends, before it is known whether that end goes on.
        let mut reader = SseReader::new(16);
        reader.push(b"data: x\r\n\r");
        assert_eq!(reader.next_event(), Ok(Some(Bytes::from_static(b"x"))));
    }

    #[test]
    fn a_line_is_as_long_however_it_ends() {
        for end in ["\n", "\r\n", "\r"] {
            let read = |data: &str| {
                let mut reader = SseReader::new(16);
                reader.push(format!("data: {data}{end}{end}").as_bytes());
                reader.next_event()
            };
            assert!(read("0123456789").is_ok_and(|event| event.is_some()));
            assert_eq!(read("0123456789a"), Err(EventTooLong));
        }
    }

    #[test]
    fn an_event_without_an_end_is_refused() {
        let mut reader = SseReader::new(16);
        reader.push(b"data: 0123456789abcdef");
        assert_eq!(reader.next_event(), Err(EventTooLong));
        let mut reader = SseReader::new(16);
        reader.push(b"data: 01234567\ndata: 01234567\n\n");
        assert_eq!(reader.next_event(), Err(EventTooLong));
    }
}
