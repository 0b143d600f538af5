//! The reader of engines' event streams: the same events however the bytes are cut, and those that a
//! reader finds who has all of them at once.

use inference_routing::engine::sse::SseReader;

use super::{Target, about, way};

pub(super) const TARGET: Target = Target {
    name: "sse",
    examples: &[
        b": hello\n\ndata: {\"a\":1}\r\n\r\ndata:two\ndata: lines\nid: 7\n\nevent: x\n\n",
        b"retry: 1\ndata\n\ndatax: no\n\ndata: [DONE]\n\n",
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
    let expected = at_once(input);
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

/// As the standard says it, line by line, for who has everything.
fn at_once(input: &[u8]) -> Read {
    let (mut events, mut data) = (Vec::new(), None::<Vec<u8>>);
    let mut rest = input;
    while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
        let (line, after) = (&rest[..end], &rest[end + 1..]);
        rest = after;
        if end + 1 > LIMIT {
            return (events, true);
        }
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            events.extend(data.take());
            continue;
        }
        let (name, value) = match line.iter().position(|byte| *byte == b':') {
            Some(colon) => (&line[..colon], &line[colon + 1..]),
            None => (line, &line[line.len()..]),
        };
        if name != b"data" {
            continue;
        }
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match &mut data {
            None => data = Some(value.to_vec()),
            Some(data) if data.len() + value.len() >= LIMIT => return (events, true),
            Some(data) => {
                data.push(b'\n');
                data.extend_from_slice(value);
            }
        }
    }
    (events, rest.len() > LIMIT)
}
