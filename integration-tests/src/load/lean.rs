//! Load that costs less than what it measures: one thread, requests put together beforehand, answers
//! read only as far as their end asks for it.

use std::time::Duration;

use anyhow::{Context, bail, ensure};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::Instant,
};

use super::Target;

/// The header that names the trace of an answer.
const TRACE_ID: &str = "wanwu-trace-id:";
/// Traces that are kept of one load, at most.
const TRACES: usize = 200;

/// What a load saw.
#[derive(Clone, Debug, Default)]
pub struct Lean {
    /// The time of every request.
    pub times: Vec<Duration>,
    /// Requests that can be looked up, with their times.
    pub traced: Vec<(String, Duration)>,
    /// From the first request to the last answer.
    pub elapsed: Duration,
}

impl Lean {
    /// Takes in what another one saw.
    pub fn add(&mut self, other: Self) {
        self.times.extend(other.times);
        self.traced.extend(other.traced);
        self.elapsed += other.elapsed;
    }

    /// Requests a second.
    #[must_use]
    pub fn rate(&self) -> f64 {
        self.times.len() as f64 / self.elapsed.as_secs_f64().max(1e-9)
    }
}

/// Asks for so long over so many connections, on a thread of its own that runs on the processor
/// `processor`. One request on each connection is not counted.
///
/// # Errors
/// When a connection breaks or an answer is no success.
pub async fn lean(
    target: &Target,
    connections: usize,
    long: Duration,
    processor: Option<usize>,
) -> anyhow::Result<Lean> {
    let target = target.clone();
    let load = tokio::task::spawn_blocking(move || {
        // A thread of its own: its pin goes with it.
        std::thread::spawn(move || {
            if let Some(processor) = processor {
                super::cpu::pin_thread(processor)?;
            }
            tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?
                .block_on(all(target, connections, long))
        })
        .join()
    });
    match load.await? {
        Ok(seen) => seen,
        Err(_) => bail!("the load panicked"),
    }
}

async fn all(target: Target, connections: usize, long: Duration) -> anyhow::Result<Lean> {
    let request: std::sync::Arc<[u8]> = bytes(&target).into();
    let mut open = Vec::with_capacity(connections);
    for _ in 0..connections {
        let stream = TcpStream::connect(&target.authority).await?;
        stream.set_nodelay(true)?;
        let mut connection = Connection {
            stream,
            buffer: Vec::with_capacity(16 << 10),
        };
        connection.ask(&request).await?;
        open.push(connection);
    }
    let begin = Instant::now();
    let mut workers = tokio::task::JoinSet::new();
    for mut connection in open {
        let request = request.clone();
        workers.spawn(async move {
            let mut seen = Lean::default();
            while begin.elapsed() < long {
                let asked = Instant::now();
                let trace_id = connection.ask(&request).await?;
                let took = asked.elapsed();
                seen.times.push(took);
                if let Some(trace_id) = trace_id.filter(|_| seen.traced.len() < TRACES) {
                    seen.traced.push((trace_id, took));
                }
            }
            anyhow::Ok(seen)
        });
    }
    let mut seen = Lean::default();
    while let Some(worker) = workers.join_next().await {
        seen.add(worker??);
    }
    seen.traced.truncate(TRACES);
    seen.elapsed = begin.elapsed();
    Ok(seen)
}

fn bytes(target: &Target) -> Vec<u8> {
    let bearer = target.bearer.as_ref();
    let bearer = bearer.map(|bearer| format!("authorization: Bearer {bearer}\r\n"));
    let extra: String = target
        .headers
        .iter()
        .map(|(name, value)| format!("{name}: {value}\r\n"))
        .collect();
    let mut request = format!(
        "POST {} HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n{}{extra}\r\n",
        target.path,
        target.authority,
        target.body.len(),
        bearer.unwrap_or_default(),
    )
    .into_bytes();
    request.extend_from_slice(&target.body);
    request
}

struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    /// One request and its answer; answers the trace that it names.
    async fn ask(&mut self, request: &[u8]) -> anyhow::Result<Option<String>> {
        self.stream.write_all(request).await?;
        self.buffer.clear();
        loop {
            let read = self.stream.read_buf(&mut self.buffer).await?;
            ensure!(read > 0, "the connection broke");
            if let Some(trace_id) = answer(&self.buffer)? {
                return Ok(trace_id);
            }
        }
    }
}

/// The trace that an answer names, when the answer is whole.
fn answer(bytes: &[u8]) -> anyhow::Result<Option<Option<String>>> {
    let Some(head) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
        return Ok(None);
    };
    let (head, body) = bytes.split_at(head + 4);
    let head = std::str::from_utf8(head).context("a head that is no text")?;
    let header = |name: &str| {
        head.lines().find_map(|line| {
            let start = line.get(..name.len())?;
            start
                .eq_ignore_ascii_case(name)
                .then(|| line[name.len()..].trim())
        })
    };
    let whole = match header("content-length:") {
        Some(length) => body.len() >= length.parse::<usize>()?,
        None => body.ends_with(b"0\r\n\r\n"),
    };
    if !whole {
        return Ok(None);
    }
    let success = head.get(9..10) == Some("2");
    ensure!(success, "{head}{}", String::from_utf8_lossy(body));
    Ok(Some(header(TRACE_ID).map(str::to_owned)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_whole_at_its_end() {
        let plain = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nWanwu-Trace-Id: ab\r\n\r\nOK";
        assert_eq!(answer(&plain.as_bytes()[..plain.len() - 1]).unwrap(), None);
        assert_eq!(
            answer(plain.as_bytes()).unwrap(),
            Some(Some("ab".to_owned()))
        );
        let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nOK\r\n0\r\n\r\n";
        assert_eq!(answer(chunked.as_bytes()).unwrap(), Some(None));
        assert_eq!(answer(b"HTTP/1.1 200").unwrap(), None);
        assert!(answer(b"HTTP/1.1 429 Busy\r\ncontent-length: 0\r\n\r\n").is_err());
    }
}
