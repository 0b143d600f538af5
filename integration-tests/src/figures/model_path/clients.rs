//! Clients that go on whatever happens, and count it.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, header, response::Parts};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::{net::TcpStream, task::JoinSet, time::Instant};

use crate::load::Target;

/// A client that is refused waits so long: nobody asks again at once.
const AFTER_REFUSAL: Duration = Duration::from_millis(20);

/// How one call went for its client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// To its end.
    Answered,
    /// No token came; what did.
    Refused(String),
    /// It broke after a token, and said so: by an error event, or by a connection that broke as well.
    Cut,
    /// It ended as one that is whole and was none, after a token or before: a failure that its client
    /// cannot see.
    Hidden { after_token: bool },
}

/// What all clients saw.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counts {
    /// Calls that ended.
    pub calls: u64,
    /// Of those, refused ones.
    pub refused: u64,
    /// Of those, ones that broke.
    pub cut: u64,
    /// Of refused ones, and of those that broke, ones that ended as if they were whole.
    pub hidden: [u64; 2],
    /// The longest wait for a first token.
    pub longest: Duration,
    /// Refusals by what was said.
    pub words: BTreeMap<String, u64>,
}

/// A body for each call.
pub(crate) type Want = Arc<dyn Fn(u64) -> Target + Send + Sync>;

/// Clients at work until this is ended.
pub(crate) struct Load {
    counts: Arc<Mutex<Counts>>,
    stop: Arc<AtomicBool>,
    clients: JoinSet<()>,
}

impl Load {
    /// So many clients, each with one call at a time.
    pub(crate) fn start(want: Want, clients: usize) -> Self {
        let counts = Arc::new(Mutex::new(Counts::default()));
        let stop = Arc::new(AtomicBool::new(false));
        let mut at_work = JoinSet::new();
        for client in 0..clients as u64 {
            let (want, counts, stop) = (want.clone(), counts.clone(), stop.clone());
            at_work.spawn(async move {
                let mut connection = None;
                let mut n = client;
                while !stop.load(Ordering::Relaxed) {
                    let visit = visit(&mut connection, &want(n)).await;
                    n += clients as u64;
                    counts.lock().count(&visit.seen, visit.first);
                    if visit.seen.had_no_token() {
                        tokio::time::sleep(AFTER_REFUSAL).await;
                    }
                }
            });
        }
        Self {
            counts,
            stop,
            clients: at_work,
        }
    }

    /// What they saw since the last time, or since the beginning.
    pub(crate) fn take(&self) -> Counts {
        std::mem::take(&mut self.counts.lock())
    }

    /// Waits until every client has its last answer.
    pub(crate) async fn end(mut self) -> Counts {
        self.stop.store(true, Ordering::Relaxed);
        while self.clients.join_next().await.is_some() {}
        self.take()
    }
}

impl Seen {
    /// A word for how it went.
    pub(crate) fn word(&self) -> &str {
        match self {
            Self::Answered => "answered",
            Self::Refused(word) => word,
            Self::Cut => "cut",
            Self::Hidden { after_token: true } => "cut without a word",
            Self::Hidden { after_token: false } => "an answer without a token",
        }
    }

    const fn had_no_token(&self) -> bool {
        matches!(self, Self::Refused(_) | Self::Hidden { after_token: false })
    }
}

impl Counts {
    fn count(&mut self, seen: &Seen, first: Duration) {
        self.calls += 1;
        if seen.had_no_token() {
            self.refused += 1;
            *self.words.entry(seen.word().to_owned()).or_default() += 1;
        } else if *seen != Seen::Answered {
            self.cut += 1;
        }
        if let Seen::Hidden { after_token } = seen {
            self.hidden[usize::from(*after_token)] += 1;
        }
        self.longest = self.longest.max(first);
    }

    /// Adds what others saw.
    pub(crate) fn add(&mut self, other: Self) {
        self.calls += other.calls;
        self.refused += other.refused;
        self.cut += other.cut;
        for (hidden, others) in self.hidden.iter_mut().zip(other.hidden) {
            *hidden += others;
        }
        self.longest = self.longest.max(other.longest);
        for (word, count) in other.words {
            *self.words.entry(word).or_default() += count;
        }
    }
}

/// One streamed call.
#[derive(Clone, Debug)]
pub(crate) struct Visit {
    /// How it went.
    pub seen: Seen,
    /// Until its first token, or its end without one.
    pub first: Duration,
    /// How much of that the engine took, where it stamps its chunks.
    pub at_engine: Option<Duration>,
    /// When to come again, where the head of the answer says so (`retry-after`).
    pub come_again: Option<Duration>,
}

/// Makes one streamed call, on the connection if it still stands.
pub(crate) async fn visit(
    connection: &mut Option<SendRequest<Full<Bytes>>>,
    target: &Target,
) -> Visit {
    let begin = Instant::now();
    let mut answer = Vec::new();
    let mut first = None;
    let ended = exchange(connection, target, &mut answer, &mut first).await;
    let first = first.map_or_else(|| begin.elapsed(), |at: Instant| at - begin);
    let (problem, come_again) = match ended {
        Ok(head) => {
            let problem = (!head.status.is_success()).then(|| head.status.to_string());
            (problem, come_again(&head.headers))
        }
        Err(problem) => {
            *connection = None;
            (Some(problem), None)
        }
    };
    Visit {
        at_engine: stamp(&answer),
        seen: judge(&answer, problem),
        first,
        come_again,
    }
}

/// When the engine made the first token, since the call came to it.
fn stamp(answer: &[u8]) -> Option<Duration> {
    let text = String::from_utf8_lossy(answer);
    let chunk = text.split("\n\n").find(|it| has_token(it.as_bytes()))?;
    let (_, rest) = chunk.split_once("\"wanwu_micros\":")?;
    let micros = rest.split(|it: char| !it.is_ascii_digit()).next()?;
    micros.parse().ok().map(Duration::from_micros)
}

/// Whole seconds, and at least one: at once is no time.
fn come_again(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(header::RETRY_AFTER)?.to_str().ok()?;
    let seconds = seconds.parse::<u64>().ok().filter(|it| *it > 0);
    seconds.map(Duration::from_secs)
}

fn judge(answer: &[u8], problem: Option<String>) -> Seen {
    let text = String::from_utf8_lossy(answer);
    let token = has_token(answer);
    let error = text.split_once("\"code\":\"").map(|(_, rest)| rest);
    let error = error.and_then(|rest| rest.split('"').next());
    let whole = token && text.ends_with("data: [DONE]\n\n");
    match error.map(str::to_owned).or(problem) {
        None if whole => Seen::Answered,
        None => Seen::Hidden { after_token: token },
        Some(_) if token => Seen::Cut,
        Some(problem) => Seen::Refused(problem),
    }
}

/// A chunk with text that is not empty.
fn has_token(answer: &[u8]) -> bool {
    const CONTENT: &[u8] = b"\"content\":\"";
    let mut contents = answer
        .windows(CONTENT.len() + 1)
        .filter(|window| window.starts_with(CONTENT));
    contents.any(|window| window[CONTENT.len()] != b'"')
}

/// Answers the head when the answer was read to its end.
async fn exchange(
    connection: &mut Option<SendRequest<Full<Bytes>>>,
    target: &Target,
    answer: &mut Vec<u8>,
    first: &mut Option<Instant>,
) -> Result<Parts, String> {
    let sender = match connection {
        Some(sender) if !sender.is_closed() => sender,
        _ => {
            let made = connect(target).await;
            connection.insert(made.map_err(|error| format!("no connection: {error}"))?)
        }
    };
    let gone = |what: &str, error: hyper::Error| format!("{what}: {error}");
    sender.ready().await.map_err(|e| gone("no connection", e))?;
    let request = target.request().map_err(|e| format!("no request: {e}"))?;
    let response = sender.send_request(request).await;
    let (head, mut body) = response.map_err(|e| gone("no answer", e))?.into_parts();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|e| gone("broken", e))?;
        answer.extend_from_slice(&frame.into_data().unwrap_or_default());
        if first.is_none() && has_token(answer) {
            *first = Some(Instant::now());
        }
    }
    Ok(head)
}

async fn connect(target: &Target) -> anyhow::Result<SendRequest<Full<Bytes>>> {
    let stream = TcpStream::connect(&target.authority).await?;
    stream.set_nodelay(true)?;
    let (sender, connection) = handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    Ok(sender)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_engines_own_time_is_that_of_the_first_chunk_with_a_token() {
        let role = "data: {\"delta\":{\"content\":\"\"},\"wanwu_micros\":1}\n\n";
        let token = "data: {\"delta\":{\"content\":\"x\"},\"wanwu_micros\":2500}\n\n";
        let later = "data: {\"wanwu_micros\":9000,\"delta\":{\"content\":\"y\"}}\n\n";
        let stamped = |parts: &[&str]| stamp(parts.concat().as_bytes());
        assert_eq!(
            stamped(&[role, token, later]),
            Some(Duration::from_micros(2500))
        );
        assert_eq!(stamped(&[role, later]), Some(Duration::from_micros(9000)));
        assert_eq!(stamped(&[role]), None);
        assert_eq!(stamped(&["data: {\"content\":\"x\"}\n\n"]), None);
    }

    #[test]
    fn only_a_number_of_seconds_says_when_to_come_again() {
        let said = |value: &'static str| {
            let value = header::HeaderValue::from_static(value);
            come_again(&HeaderMap::from_iter([(header::RETRY_AFTER, value)]))
        };
        assert_eq!(said("3"), Some(Duration::from_secs(3)));
        for wrong in ["", "0", "-1", "soon"] {
            assert_eq!(said(wrong), None, "{wrong}");
        }
        assert_eq!(come_again(&HeaderMap::new()), None);
    }

    #[test]
    fn an_answer_is_judged_by_its_tokens_and_its_end() {
        let role = "data: {\"delta\":{\"content\":\"\"}}\n\n";
        let token = "data: {\"delta\":{\"content\":\"x\"}}\n\n";
        let error = "data: {\"error\":{\"code\":\"engine_failed\"}}\n\n";
        let done = "data: [DONE]\n\n";
        let judged = |parts: &[&str]| judge(parts.concat().as_bytes(), None);
        assert_eq!(judged(&[role, token, done]), Seen::Answered);
        for parts in [&[role, token, error][..], &[role, token, error, done]] {
            assert_eq!(judged(parts), Seen::Cut);
        }
        let lost = judge(token.as_bytes(), Some("broken".to_owned()));
        assert_eq!(lost, Seen::Cut);
        let hidden = |after_token| Seen::Hidden { after_token };
        assert_eq!(judged(&[role, token]), hidden(true));
        for parts in [&[role, done][..], &[role], &[]] {
            assert_eq!(judged(parts), hidden(false));
        }
        assert_eq!(
            judged(&[role, error]),
            Seen::Refused("engine_failed".to_owned())
        );
        let broken = judge(role.as_bytes(), Some("broken".to_owned()));
        assert_eq!(broken, Seen::Refused("broken".to_owned()));
    }

    #[test]
    fn an_end_that_is_hidden_is_among_those_that_failed_too() {
        let mut counts = Counts::default();
        for seen in [
            Seen::Answered,
            Seen::Cut,
            Seen::Refused("busy".to_owned()),
            Seen::Hidden { after_token: true },
            Seen::Hidden { after_token: false },
        ] {
            counts.count(&seen, Duration::ZERO);
        }
        let Counts {
            calls,
            refused,
            cut,
            hidden,
            ..
        } = counts;
        assert_eq!((calls, refused, cut, hidden), (5, 2, 2, [1, 1]));
        assert_eq!(counts.words.len(), 2);
    }
}
