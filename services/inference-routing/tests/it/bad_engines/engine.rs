//! An engine that goes wrong in one of the ways in which engines do.

use std::{
    convert::Infallible,
    net::SocketAddr,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::State,
    http::{StatusCode, Uri},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use futures::stream;
use hyper::server::conn::http1;
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
    time::sleep,
};
use tokio_util::sync::CancellationToken;
use wanwu_testkit::Pieces;

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    Nothing,
    /// Nothing listens.
    Refuses,
    /// Bytes go in, none come out.
    Blackholed,
    /// It says that it is well and answers no call; those that it had hang on when it is mended.
    Hangs,
    TenTimesSlower,
    HalfErrors,
    /// Every call is answered with 500; it says that it is well.
    Fails,
    CutsStreams,
    /// Frames that are no JSON, after one that is right and has no token.
    Garbage,
    NoUsage,
    /// Its events are [in pieces](IN_PIECES), which is no fault.
    InPieces,
    /// It answers all it gets, and the network loses connections: each is closed a moment after it was taken,
    /// when nothing is on its way, and of those that bring a call every tenth is reset without an answer.
    LosesConnections,
    /// It answers all calls, each on a connection of its own, and those that bring a probe are reset.
    LosesProbes,
    /// Each connection is for one request. Of thirty that bring a call the first three are reset without an
    /// answer; the others are answered.
    LosesThreeInARow,
    /// At `/ready` it says that it is ill, at `/health` that it is well; calls are answered.
    SaysIll,
    /// 429 with seconds, and 503 with a date, in turn.
    Busy,
}

/// How long an answer takes at least.
const PACE: Duration = Duration::from_millis(5);
/// Of so many connections one is reset.
const ONE_OF: u64 = 10;
/// Of so many connections the first three are reset.
pub const THREE_OF: u64 = 30;
/// All that may be done to events, in pieces that are not too many for a load of calls.
const IN_PIECES: Pieces = Pieces {
    together: 2,
    most_bytes: 64,
    crlf: true,
    lines: true,
    comments: true,
};

pub struct BadEngine {
    pub url: String,
    address: SocketAddr,
    state: Arc<EngineState>,
    server: Mutex<Option<JoinHandle<()>>>,
}

struct EngineState {
    fault: watch::Sender<Fault>,
    calls: AtomicU64,
    /// Connections that were taken, and those that brought a call while some were lost.
    taken: AtomicU64,
    brought_call: AtomicU64,
    /// Those that brought a probe and were reset.
    lost_probes: AtomicU64,
    /// Those that were reset.
    lost: AtomicU64,
    /// How often it said that it is ill.
    said_ill: AtomicU64,
}

impl BadEngine {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(EngineState {
            fault: watch::Sender::new(Fault::Nothing),
            calls: AtomicU64::new(0),
            taken: AtomicU64::new(0),
            brought_call: AtomicU64::new(0),
            lost_probes: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            said_ill: AtomicU64::new(0),
        });
        let server = Mutex::new(Some(serve(listener, state.clone())));
        Self {
            url: format!("http://{address}"),
            address,
            state,
            server,
        }
    }

    /// Goes wrong from now on.
    pub async fn set(&self, fault: Fault) {
        self.state.fault.send_replace(fault);
        let server = self.server.lock().take();
        match (server, fault) {
            (Some(server), Fault::Refuses) => server.abort(),
            (None, fault) if fault != Fault::Refuses => {
                let listener = TcpListener::bind(self.address).await.unwrap();
                *self.server.lock() = Some(serve(listener, self.state.clone()));
            }
            (server, _) => *self.server.lock() = server,
        }
    }

    /// Calls that reached it.
    pub fn calls(&self) -> u64 {
        self.state.calls.load(Ordering::Relaxed)
    }

    /// Connections that were reset in place of an answer.
    pub fn resets(&self) -> u64 {
        self.state.lost.load(Ordering::Relaxed)
    }

    /// Probes that were lost.
    pub fn lost_probes(&self) -> u64 {
        self.state.lost_probes.load(Ordering::Relaxed)
    }

    /// How often it said that it is ill.
    pub fn said_ill(&self) -> u64 {
        self.state.said_ill.load(Ordering::Relaxed)
    }
}

impl EngineState {
    fn is(&self, fault: Fault) -> bool {
        *self.fault.borrow() == fault
    }

    /// Connections are lost, in one of the ways.
    fn is_noisy(&self) -> bool {
        matches!(
            *self.fault.borrow(),
            Fault::LosesConnections | Fault::LosesProbes | Fault::LosesThreeInARow
        )
    }

    /// This connection is to be reset, by what it brings.
    async fn resets(&self, stream: &TcpStream) -> bool {
        if !self.is_noisy() {
            return false;
        }
        let mut begin = [0; 4];
        let is_read = matches!(stream.peek(&mut begin).await, Ok(4));
        let (brings, fault) = (is_read.then_some(&begin), *self.fault.borrow());
        let lost = match (fault, brings) {
            (Fault::LosesProbes, Some(b"GET ")) => {
                self.lost_probes.fetch_add(1, Ordering::Relaxed);
                return true;
            }
            (Fault::LosesConnections, Some(b"POST")) => self
                .brought_call
                .fetch_add(1, Ordering::Relaxed)
                .is_multiple_of(ONE_OF),
            (Fault::LosesThreeInARow, Some(b"POST")) => {
                self.brought_call.fetch_add(1, Ordering::Relaxed) % THREE_OF < 3
            }
            _ => false,
        };
        self.lost.fetch_add(u64::from(lost), Ordering::Relaxed);
        lost
    }

    /// Waits until a connection that was taken now is to be closed. They have different times, or all
    /// would be closed at once.
    async fn loses_connection(&self) {
        let number = self.taken.fetch_add(1, Ordering::Relaxed);
        let mut fault = self.fault.subscribe();
        let noisy = [Fault::LosesConnections, Fault::LosesProbes];
        fault.wait_for(|fault| noisy.contains(fault)).await.ok();
        sleep(Duration::from_millis(10 + number * 7 % 31)).await;
    }
}

fn serve(listener: TcpListener, state: Arc<EngineState>) -> JoinHandle<()> {
    let router = Router::new()
        .route("/health", get(health))
        .route("/ready", get(ready))
        .route("/v1/chat/completions", post(complete))
        .route("/v1/embeddings", post(complete))
        .with_state(state.clone());
    tokio::spawn(accept(listener, router, state))
}

/// Takes connections until it is dropped; then those that it took end when nothing is on their way.
async fn accept(listener: TcpListener, router: Router, engine: Arc<EngineState>) {
    let stop = CancellationToken::new();
    let _stopped = stop.clone().drop_guard();
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            continue;
        };
        stream.set_nodelay(true).ok();
        let (router, engine) = (router.clone(), engine.clone());
        tokio::spawn(connection(stream, router, engine, stop.clone()));
    }
}

async fn connection(
    stream: TcpStream,
    router: Router,
    engine: Arc<EngineState>,
    stop: CancellationToken,
) {
    if engine.resets(&stream).await {
        // It ends at once, and not in good order.
        stream.set_zero_linger().unwrap();
        return;
    }
    let service = TowerToHyperService::new(router);
    let mut http = http1::Builder::new();
    http.keep_alive(!engine.is(Fault::LosesProbes) && !engine.is(Fault::LosesThreeInARow));
    let mut served = pin!(http.serve_connection(TokioIo::new(stream), service));
    let ends = async {
        tokio::select! {
            () = stop.cancelled() => {}
            () = engine.loses_connection() => {}
        }
    };
    tokio::select! {
        _ = served.as_mut() => {}
        () = ends => {
            served.as_mut().graceful_shutdown();
            served.await.ok();
        }
    }
}

async fn health(State(engine): State<Arc<EngineState>>) {
    if engine.is(Fault::Blackholed) {
        sleep(Duration::from_secs(3600)).await;
    }
}

async fn ready(State(engine): State<Arc<EngineState>>) -> StatusCode {
    if engine.is(Fault::SaysIll) {
        engine.said_ill.fetch_add(1, Ordering::Relaxed);
        return StatusCode::SERVICE_UNAVAILABLE;
    }
    StatusCode::OK
}

async fn complete(State(engine): State<Arc<EngineState>>, uri: Uri, body: Bytes) -> Response {
    let call = engine.calls.fetch_add(1, Ordering::Relaxed);
    let fault = *engine.fault.borrow();
    match fault {
        Fault::Blackholed | Fault::Hangs => sleep(Duration::from_secs(3600)).await,
        Fault::TenTimesSlower => sleep(PACE * 10).await,
        _ => sleep(PACE).await,
    }
    match fault {
        Fault::HalfErrors if call.is_multiple_of(2) => {
            return StatusCode::INTERNAL_SERVER_ERROR.into_response();
        }
        Fault::Fails => return StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        Fault::Busy if call.is_multiple_of(2) => {
            let soon = chrono::Utc::now() + Duration::from_secs(2);
            let soon = soon.format("%a, %d %b %Y %H:%M:%S GMT").to_string();
            return (StatusCode::SERVICE_UNAVAILABLE, [("retry-after", soon)]).into_response();
        }
        Fault::Busy => {
            return (StatusCode::TOO_MANY_REQUESTS, [("retry-after", "1")]).into_response();
        }
        _ => {}
    }
    let asked: Value = serde_json::from_slice(&body).unwrap();
    if asked["stream"] != true {
        return whole(uri.path()).to_string().into_response();
    }
    let events = events(fault);
    if fault != Fault::InPieces {
        return events.concat().into_response();
    }
    let events = events.into_iter().map(Bytes::from);
    let events = stream::iter(events.map(Ok::<_, Infallible>));
    Body::from_stream(IN_PIECES.write(events)).into_response()
}

/// The events of a streamed answer.
fn events(fault: Fault) -> Vec<String> {
    let chunk = |delta: &str, finish: &str| {
        format!(
            "data: {{\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\
             \"choices\":[{{\"index\":0,\"delta\":{delta},\"finish_reason\":{finish}}}]}}\n\n"
        )
    };
    let role = chunk(r#"{"role":"assistant","content":""}"#, "null");
    let word = chunk(r#"{"content":"好"}"#, "null");
    match fault {
        Fault::CutsStreams => vec![role, word],
        Fault::Garbage => vec![role, "data: \u{fffd}<html>\n\n".to_owned()],
        _ => {
            let usage = "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":2}}\n\n";
            let usage = (fault != Fault::NoUsage).then(|| usage.to_owned());
            let mut events = vec![role, word.clone(), word, chunk("{}", "\"stop\"")];
            events.extend(usage);
            events.push("data: [DONE]\n\n".to_owned());
            events
        }
    }
}

/// An answer in one piece.
fn whole(path: &str) -> Value {
    let usage = json!({"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11});
    if path == "/v1/embeddings" {
        let vector = json!({"object": "embedding", "index": 0, "embedding": [0.5]});
        return json!({"object": "list", "model": "m", "data": [vector],
            "usage": {"prompt_tokens": 9, "total_tokens": 9}});
    }
    json!({"id": "c", "object": "chat.completion", "created": 1, "model": "m", "usage": usage,
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "好好"},
            "finish_reason": "stop"}]})
}
