//! HTTP to an engine.

use std::{collections::VecDeque, io, pin::Pin, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::FutureExt;
use http::{HeaderName, HeaderValue, Method, Request, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use tokio::time::{Instant, Sleep, sleep, timeout};
use uuid::Uuid;
use wanwu_ids::CallId;

use super::{
    Answer, EngineError,
    pool::Engine,
    progress::Counted,
    refusal::{MAX_MESSAGE_BYTES, refusal},
    sse::SseReader,
};
use crate::{
    config::EngineConfig,
    domain::{
        breaker::Health,
        chunk::{Chunk, NotAChunk, is_error},
        shape::Shape,
        stall::grace,
    },
};

/// The call, to the engine.
const CALL: HeaderName = HeaderName::from_static("x-request-id");
/// Its trace.
const TRACE: HeaderName = HeaderName::from_static("traceparent");
/// The longest metrics of an engine that are read, in bytes: a large engine has some hundred thousand.
const MAX_METRICS_BYTES: usize = 2 * 1024 * 1024;
/// What may follow the last event of a stream, in frames and in time.
const MAX_FRAMES_AFTER_END: usize = 4;
const END_TIMEOUT: Duration = Duration::from_secs(1);
/// Connections to one engine that are kept for the next call.
const IDLE_CONNECTIONS: usize = 256;

/// Speaks HTTP/1.1 with engines. A response that is dropped closes its connection: the engine
/// sees that nobody listens.
#[derive(Clone, Debug)]
pub struct EngineClient {
    http: Client<HttpConnector, Full<Bytes>>,
    config: EngineConfig,
}

/// What is asked of an engine.
#[derive(Clone, Debug)]
pub struct Question {
    /// What kind of request it is.
    pub shape: Shape,
    /// The call: `x-request-id`.
    pub call_id: CallId,
    /// The trace of the call.
    pub traceparent: Option<String>,
    /// The body.
    pub body: Bytes,
    /// The answer is a stream.
    pub stream: bool,
    /// The most pieces that come at once, in one answer: its tokens, or the texts that are embedded. A stream
    /// has none.
    pub pieces: u64,
}

/// The events of a stream.
#[derive(Debug)]
pub struct Events {
    body: Incoming,
    reader: SseReader,
    counted: Arc<Counted>,
    patience: Duration,
    /// It is set anew only when it rings: that is rarer than events are.
    alarm: Pin<Box<Sleep>>,
    /// Events that were read already.
    ahead: VecDeque<Bytes>,
}

impl EngineClient {
    /// A client with these limits.
    #[must_use]
    pub fn new(config: &EngineConfig) -> Self {
        let http = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(Duration::from_secs(30))
            .pool_max_idle_per_host(IDLE_CONNECTIONS)
            .build(connector(config.connect_timeout));
        Self {
            http,
            config: config.clone(),
        }
    }

    /// Asks an engine; answers with the first event of the stream, or the whole answer.
    pub async fn ask(&self, engine: &Engine, question: &Question) -> Result<Answer, EngineError> {
        let limit = if question.stream {
            self.config.first_token_timeout
        } else {
            self.config.answer_timeout
        };
        let grace = grace(question.pieces, self.config.answer_pace);
        let answer = engine.counted.waited(grace, self.first(engine, question));
        match timeout(limit, answer).await {
            Ok(answer) => answer,
            Err(_) => Err(EngineError::Silent),
        }
    }

    /// How the engine is.
    pub async fn health(&self, engine: &Engine, path: &str) -> Health {
        match self.get(engine, path, MAX_MESSAGE_BYTES).await {
            Ok(_) => Health::Well,
            Err(error) => {
                tracing::debug!(
                    engine.url,
                    error = &error as &dyn std::error::Error,
                    "an engine did not say that it is well"
                );
                error.health()
            }
        }
    }

    /// The engine's metrics, as far as it has some.
    pub async fn metrics(&self, engine: &Engine) -> Option<String> {
        let text = self.get(engine, "/metrics", MAX_METRICS_BYTES).await;
        String::from_utf8(text.ok()?.into()).ok()
    }

    /// What is at a path, within the time of a probe.
    async fn get(&self, engine: &Engine, path: &str, limit: usize) -> Result<Bytes, EngineError> {
        let request = self.request(engine, Method::GET, path, Bytes::new())?;
        let answer = async {
            let response = self.http.request(request).await.map_err(not_reached)?;
            let status = response.status();
            // Read to its end, so that the connection can be used again.
            let body = Limited::new(response.into_body(), limit).collect().await;
            let body = body.map_err(|_| EngineError::Cut)?.to_bytes();
            if !status.is_success() {
                return Err(EngineError::Unable(status.as_u16()));
            }
            Ok(body)
        };
        let answer = timeout(self.config.probe_timeout, answer).await;
        answer.unwrap_or(Err(EngineError::Silent))
    }

    async fn first(&self, engine: &Engine, question: &Question) -> Result<Answer, EngineError> {
        let mut request = self.request(
            engine,
            Method::POST,
            question.shape.path(),
            question.body.clone(),
        )?;
        let headers = request.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/json"),
        );
        let mut text = Uuid::encode_buffer();
        let call = question.call_id.uuid().hyphenated();
        let call = HeaderValue::from_str(call.encode_lower(&mut text));
        headers.insert(CALL, call.map_err(|e| EngineError::Unreachable(e.into()))?);
        if let Some(Ok(trace)) = question.traceparent.as_deref().map(HeaderValue::from_str) {
            headers.insert(TRACE, trace);
        }
        let response = self.http.request(request).await.map_err(not_reached)?;
        let status = response.status();
        if !status.is_success() {
            let (parts, body) = response.into_parts();
            return Err(refusal(status, &parts.headers, body).await);
        }
        if !question.stream {
            let body = Limited::new(response.into_body(), self.config.max_answer_bytes);
            let whole = body.collect().await.map_err(|_| EngineError::Cut)?;
            let whole = whole.to_bytes();
            if is_error(question.shape, &whole).map_err(nonsense)? {
                return Err(EngineError::Cut);
            }
            engine.counted.piece();
            return Ok(Answer::Whole(whole));
        }
        let mut events = Events {
            body: response.into_body(),
            reader: SseReader::new(self.config.max_event_bytes),
            counted: engine.counted.clone(),
            patience: self.config.token_timeout,
            alarm: Box::pin(sleep(self.config.token_timeout)),
            ahead: VecDeque::with_capacity(question.shape.look_ahead()),
        };
        events.look_ahead(question.shape).await?;
        engine.counted.piece();
        match events.ahead.pop_front() {
            Some(first) => Ok(Answer::Stream(first, events)),
            None => Err(EngineError::Cut),
        }
    }

    fn request(
        &self,
        engine: &Engine,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<Request<Full<Bytes>>, EngineError> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", engine.url));
        if let Some(token) = &engine.authorization {
            request = request.header(header::AUTHORIZATION, token);
        }
        request
            .body(Full::new(body))
            .map_err(|e| EngineError::Unreachable(e.into()))
    }
}

impl Events {
    /// The data of the next event; none: the stream ended.
    pub async fn next(&mut self) -> Result<Option<Bytes>, EngineError> {
        if let Some(event) = self.ahead.pop_front() {
            return Ok(Some(event));
        }
        let due = Instant::now() + self.patience;
        let event = read(&mut self.body, &mut self.reader);
        tokio::pin!(event);
        loop {
            tokio::select! {
                biased;
                event = &mut event => {
                    self.counted.piece();
                    return event;
                }
                () = self.alarm.as_mut() => {
                    if due <= Instant::now() {
                        return Err(EngineError::Silent);
                    }
                    self.alarm.as_mut().reset(due);
                }
            }
        }
    }

    /// The answer is over: what is left, the end of its body, is read beside, so that the connection
    /// serves the next call. An engine that goes on after its last event loses the connection.
    pub fn release(mut self) {
        let rest = async move {
            for _ in 0..MAX_FRAMES_AFTER_END {
                if !matches!(self.body.frame().await, Some(Ok(_))) {
                    break;
                }
            }
        };
        let mut rest = Box::pin(timeout(END_TIMEOUT, rest));
        if rest.as_mut().now_or_never().is_none() {
            tokio::spawn(rest);
        }
    }

    /// Reads until the answer has really begun: until then another engine can be asked.
    async fn look_ahead(&mut self, shape: Shape) -> Result<(), EngineError> {
        while self.ahead.len() < shape.look_ahead() {
            let event = read(&mut self.body, &mut self.reader).await?;
            let event = event.ok_or(EngineError::Cut)?;
            let begun = event.as_ref() == b"[DONE]" || check(shape, &event)?;
            self.ahead.push_back(event);
            if begun {
                break;
            }
        }
        Ok(())
    }
}

/// The data of the next event of a body; none: it ended.
async fn read(body: &mut Incoming, reader: &mut SseReader) -> Result<Option<Bytes>, EngineError> {
    loop {
        match reader.next_event() {
            Ok(Some(event)) => return Ok(Some(event)),
            Ok(None) => {}
            Err(error) => return Err(EngineError::Nonsense(error.into())),
        }
        match body.frame().await {
            None => return Ok(None),
            Some(Err(_)) => return Err(EngineError::Cut),
            Some(Ok(frame)) => {
                if let Ok(bytes) = frame.into_data() {
                    reader.push(&bytes);
                }
            }
        }
    }
}

/// Makes the connections to engines.
fn connector(connect_timeout: Duration) -> HttpConnector {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    connector.set_connect_timeout(Some(connect_timeout));
    connector
}

/// Refuses what is no answer; tells whether it has something of one in it.
fn check(shape: Shape, json: &Bytes) -> Result<bool, EngineError> {
    let chunk = Chunk::parse(shape, json).map_err(nonsense)?;
    if chunk.is_error {
        return Err(EngineError::Cut);
    }
    Ok(chunk.units() > 0 || chunk.finished() > 0)
}

/// Why there is no answer.
fn not_reached(error: hyper_util::client::legacy::Error) -> EngineError {
    if is_refused(&error) {
        EngineError::NotListening(error.into())
    } else if error.is_connect() {
        EngineError::NoConnection(error.into())
    } else {
        EngineError::Unreachable(error.into())
    }
}

fn nonsense(error: NotAChunk) -> EngineError {
    EngineError::Nonsense(error.into())
}

/// The connection was refused, not lost.
fn is_refused(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            return error.kind() == io::ErrorKind::ConnectionRefused;
        }
        next = error.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;
    use tower::ServiceExt;

    use super::*;

    #[tokio::test]
    async fn what_is_asked_of_an_engine_leaves_at_once() {
        let engine = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = engine.local_addr().unwrap();
        let url = format!("http://{address}").parse::<http::Uri>().unwrap();
        let socket = connector(Duration::from_secs(5)).oneshot(url).await;
        assert!(socket.unwrap().inner().nodelay().unwrap());
    }
}
