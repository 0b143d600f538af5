//! The reader of engines' event streams: the same events however the bytes are cut, and those that the standard
//! finds in them (WHATWG HTML, "Parsing an event stream" and "Interpreting an event stream").
//!
//! Ours differs on purpose in two things. A line and an event have a longest length, which the standard does not
//! know. And text stays bytes: the standard puts a replacement for what is no UTF-8, we leave that to who reads
//! the JSON. The names and ids of events are of no use here and are not compared.

use inference_routing::engine::sse::SseReader;

use super::{Target, about, way};

pub(super) const TARGET: Target = Target {
    name: "sse",
    examples: &[
        b": hello\n\ndata: {\"a\":1}\r\n\r\ndata:two\ndata: lines\nid: 7\n\nevent: x\n\n",
        b"retry: 1\ndata\n\ndatax: no\n\ndata: [DONE]\n\n",
        b"\xef\xbb\xbf: hello\r\rdata: one\rdata: two\r\r\ndata\r\n\r\ndata: \xef\xbb\xbfthree\n\r",
        b"data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"\xe4\xbd\xa0\"}}]}\n\ndata: [DONE]\n\n",
    ],
    words: &[
        b"data: ", b"data:", b"data", b"\n", b"\n\n", b"\r\n", b"\r", b": ", b"id: 1\n", b"event: x\n",
        b"[DONE]", b"\xef\xbb\xbf",
    ],
    check,
};

/// Short, so that inputs reach it.
const LIMIT: usize = 256;

fn check(input: &[u8]) -> Result<u64, String> {
    let whole = read([input].into_iter());
    let expected = by_the_standard(input);
    if whole != expected {
        return Err(format!("{whole:?} in place of {expected:?}"));
    }
    // By twos, by ones, and by lengths that the input itself gives.
    for size in [1, 2, 7] {
        let cut = read(input.chunks(size));
        if cut != whole {
            return Err(format!("{cut:?} by {size}, {whole:?} in one piece"));
        }
    }
    let (mut rest, mut pieces) = (input, Vec::new());
    while !rest.is_empty() {
        let (piece, after) = rest.split_at(1 + usize::from(rest[0] % 13).min(rest.len() - 1));
        pieces.push(piece);
        rest = after;
    }
    let cut = read(pieces.into_iter());
    if cut != whole {
        return Err(format!("{cut:?} in pieces, {whole:?} in one"));
    }
    let lines = whole.0.iter().map(|event| event.contains(&b'\n'));
    Ok(way((
        about(whole.0.len()),
        whole.1,
        lines.filter(|more| *more).count().min(3),
    )))
}

/// Events, and whether one was too long.
type Read = (Vec<Vec<u8>>, bool);

fn read<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Read {
    let mut reader = SseReader::new(LIMIT);
    let mut events = Vec::new();
    for piece in pieces {
        reader.push(piece);
        loop {
            match reader.next_event() {
                Ok(Some(event)) => events.push(event.to_vec()),
                Ok(None) => break,
                Err(_) => return (events, true),
            }
        }
    }
    (events, false)
}

/// The events that the standard finds in a stream, and whether one is too long for us.
fn by_the_standard(stream: &[u8]) -> Read {
    // To decode the stream as UTF-8 takes away one leading byte order mark.
    let stream = stream.strip_prefix(b"\xef\xbb\xbf").unwrap_or(stream);
    let (lines, unfinished) = lines(stream);
    let (mut events, mut buffer) = (Vec::new(), Vec::new());
    for line in lines {
        if line.len() > LIMIT {
            return (events, true);
        }
        if line.is_empty() {
            // Of an empty data buffer there is no event; of another its last line feed is no part.
            if buffer.pop().is_some() {
                events.push(std::mem::take(&mut buffer));
            }
            continue;
        }
        // A comment is a field without a name.
        let mut parts = line.splitn(2, |byte| *byte == b':');
        let [field, value] = [parts.next(), parts.next()].map(Option::unwrap_or_default);
        if field == b"data" {
            buffer.extend_from_slice(value.strip_prefix(b" ").unwrap_or(value));
            buffer.push(b'\n');
        }
        if buffer.len() > LIMIT + 1 {
            return (events, true);
        }
    }
    (events, unfinished.len() > LIMIT)
}

/// The lines that have an end (a pair of CR and LF, an LF without a CR before it, or a CR without an LF after it),
/// and what comes after the last of them.
fn lines(stream: &[u8]) -> (Vec<&[u8]>, &[u8]) {
    let (mut lines, mut begin) = (Vec::new(), 0);
    for (at, byte) in stream.iter().enumerate() {
        match byte {
            b'\n' if at > 0 && stream[at - 1] == b'\r' => {}
            b'\n' | b'\r' => lines.push(&stream[begin..at]),
            _ => continue,
        }
        begin = at + 1;
    }
    (lines, &stream[begin..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_standards_own_examples_are_read_as_it_says() {
        let examples: [(&[u8], &[&[u8]]); 5] = [
            (
                b"data: This is the first message.\n\ndata: This is the second message, it\ndata: has two lines.\n\ndata: This is the third message.\n\n",
                &[
                    b"This is the first message.",
                    b"This is the second message, it\nhas two lines.",
                    b"This is the third message.",
                ],
            ),
            (
                b"data: YHOO\ndata: +2\ndata: 10\n\n",
                &[b"YHOO\n+2\n10"],
            ),
            (
                b": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n\n",
                &[b"first event", b"second event", b" third event"],
            ),
            (b"data\n\ndata\ndata\n\ndata:", &[b"", b"\n"]),
            (b"data:test\n\ndata: test\n\n", &[b"test", b"test"]),
        ];
        for (stream, events) in examples {
            assert_eq!(by_the_standard(stream).0, events);
            assert_eq!(read([stream].into_iter()), by_the_standard(stream));
        }
    }

    #[test]
    fn every_end_of_a_line_is_one_end() {
        let (whole, rest) = lines(b"a\r\nb\rc\nd\n\re\r\r\nf");
        assert_eq!(whole, [&b"a"[..], b"b", b"c", b"d", b"", b"e", b""]);
        assert_eq!(rest, b"f");
    }

    #[test]
    fn too_long_is_a_line_or_an_event_of_more_than_the_limit() {
        let line = |length: usize| [b"data:".as_slice(), &vec![b'x'; length - 5]].concat();
        let of = |lines: &[Vec<u8>]| {
            let stream = [lines.join(&b'\n'), b"\n\n".to_vec()].concat();
            let expected = by_the_standard(&stream);
            assert_eq!(read([stream.as_slice()].into_iter()), expected);
            expected.1
        };
        assert!(!of(&[line(LIMIT)]));
        assert!(of(&[line(LIMIT + 1)]));
        // With the line feed between both they have as many bytes as may be, and one more.
        assert!(!of(&[line(LIMIT), line(9)]));
        assert!(of(&[line(LIMIT), line(10)]));
    }
}
