//! Clients that send or take a little now and then.

use std::{sync::atomic::Ordering, time::Duration};

use bytes::Bytes;
use futures::{Stream, StreamExt, stream};
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::{
    body::Incoming,
    client::conn::http2::{self, SendRequest},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use serde_json::{Value, json};
use tokio::{
    io::AsyncReadExt,
    net::TcpStream,
    time::{sleep, timeout},
};
use tonic::{Code, Status, client::Grpc};
use tonic_prost::ProstCodec;
use wanwu_testkit::wait_for;

use crate::{
    chat::clients::slow_reader,
    echo::Say,
    limits::speak,
    metrics::value,
    world::{PATIENCE, World, reason, say},
};

const CHAT: &str = "/v1/chat/completions";
const SAY: &str = "/wanwu.billing.v1.EchoService/Say";
const SAY_AS_KEY: &str = "/wanwu.billing.v1.EchoService/SayAsKey";
/// `Say` with the text `x`, as gRPC frames it.
const SAYS_X: &str = "\0\0\0\0\u{3}\n\u{1}x";
const CONNECTIONS: &str = r#"edge_slow_readers_total{cut="connection"}"#;
const STREAMS: &str = r#"edge_slow_readers_total{cut="stream"}"#;

fn metrics() -> PrometheusHandle {
    PrometheusBuilder::new().install_recorder().unwrap()
}

/// A request whose body comes in pieces, and what is told at its end.
async fn told(world: &World, head: &str, pieces: &[&str], pause: u64) -> (String, Duration) {
    let length: usize = pieces.iter().map(|piece| piece.len()).sum();
    let head = format!(
        "POST {head}\r\nhost: x\r\ncontent-type: application/json\r\nconnection: close\r\n\
         content-length: {length}\r\n\r\n"
    );
    let mut parts = vec![head.as_str()];
    parts.extend(pieces);
    speak(world.address, &parts, Duration::from_millis(pause)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_trickles_is_refused_and_one_at_twice_the_least_rate_is_not() {
    let metrics = metrics();
    let limits = "[limits]\nmin_request_rate = 1000\nrate_grace = '500ms'";
    let world = World::start_with(limits).await;
    let (key, _) = world.identity.key(&["chat"]);

    let json = format!("{SAY} HTTP/1.1");
    let (said, elapsed) = told(&world, &json, &[" "; 40], 100).await;
    assert!(said.starts_with("HTTP/1.1 408"), "{said}");
    assert!(said.contains(r#""reason":"REQUEST_TOO_SLOW""#), "{said}");
    assert!(elapsed < Duration::from_secs(2), "{elapsed:?}");

    let chat = format!("{CHAT} HTTP/1.1\r\nauthorization: Bearer {key}");
    let (said, _) = told(&world, &chat, &[" "; 40], 100).await;
    assert!(said.starts_with("HTTP/1.1 408"), "{said}");
    let (_, body) = said.split_once("\r\n\r\n").unwrap();
    let error: Value = serde_json::from_str(body).unwrap();
    assert_eq!(error["error"]["code"], "request_too_slow");
    let message = "请求体发送过慢 / The body came too slowly";
    assert_eq!(error["error"]["message"], message);
    assert!(world.inference.requests.lock().is_empty());
    let refused = r#"edge_refusals_total{reason="REQUEST_TOO_SLOW"}"#;
    assert_eq!(value(&metrics, refused), 2.0);

    let blank = " ".repeat(200);
    let mut pieces = vec![blank.as_str(); 15];
    pieces.push("{}");
    let (said, elapsed) = told(&world, &json, &pieces, 100).await;
    assert!(said.starts_with("HTTP/1.1 200"), "{said}");
    assert!(elapsed > Duration::from_secs(1), "{elapsed:?}");
}

/// Calls a method of the echo with what comes, whatever it takes.
async fn call(
    world: &World,
    method: &str,
    says: impl Stream<Item = Say> + Send + 'static,
) -> Result<Say, Status> {
    let mut grpc = Grpc::new(world.grpc().await.0);
    grpc.ready().await.unwrap();
    let path = format!("/wanwu.billing.v1.EchoService/{method}");
    let codec = ProstCodec::<Say, Say>::default();
    let request = tonic::Request::new(says);
    let answer = grpc.client_streaming(request, path.parse().unwrap(), codec);
    answer.await.map(tonic::Response::into_inner)
}

/// Something small every so many milliseconds.
fn now_and_then(pause: u64) -> impl Stream<Item = Say> + Send {
    stream::repeat(()).then(move |()| async move {
        sleep(Duration::from_millis(pause)).await;
        say("x")
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_trickles_is_refused_and_a_stream_may_be_silent() {
    let limits = "[limits]\nmin_request_rate = 1000\nrate_grace = '500ms'";
    let world = World::start_with(limits).await;
    let trickling = timeout(PATIENCE, call(&world, "Say", now_and_then(100)));
    let status = trickling.await.unwrap().unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded);
    assert_eq!(reason(&status), "REQUEST_TOO_SLOW");
    let collected = call(&world, "Collect", now_and_then(800).take(2));
    assert_eq!(collected.await.unwrap().text, "xx");
}

/// Takes up to 4 KiB every 10 ms, for as long as there is something.
async fn take(mut tcp: TcpStream) {
    let mut bytes = [0; 4096];
    while let Ok(1..) = tcp.read(&mut bytes).await {
        sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_whose_client_takes_a_tenth_of_the_least_rate_is_cut() {
    let metrics = metrics();
    let limits = "[limits]\nmin_answer_rate = 4000000\nrate_grace = '1s'";
    let world = World::start_with(limits).await;
    let (key, _) = world.identity.key(&["chat"]);
    let reader = tokio::spawn(take(slow_reader(&world, &key).await));
    wait_for("the end of the call", 2 * PATIENCE, || async {
        *world.inference.gone.lock() == 1
    })
    .await;
    assert_eq!(value(&metrics, CONNECTIONS), 1.0);
    assert_eq!(value(&metrics, "edge_stalled_connections_total"), 0.0);
    reader.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_whose_client_takes_twice_the_least_rate_is_not_cut() {
    let metrics = metrics();
    let limits = "[limits]\nmin_answer_rate = 200000\nrate_grace = '1s'";
    let world = World::start_with(limits).await;
    let (key, _) = world.identity.key(&["chat"]);
    let reader = tokio::spawn(take(slow_reader(&world, &key).await));
    // The kernel lets some steps pass of a third of its buffer, each seconds apart.
    sleep(Duration::from_secs(8)).await;
    let sent = world.inference.sent.load(Ordering::Relaxed);
    assert!(sent > 100, "it was answered: {sent}");
    assert_eq!(*world.inference.gone.lock(), 0);
    assert_eq!(value(&metrics, CONNECTIONS), 0.0);
    reader.abort();
}

/// A client of HTTP/2 that gives each stream so many bytes of room.
async fn with_room(world: &World, room: u32) -> SendRequest<Full<Bytes>> {
    let tcp = TcpStream::connect(world.address).await.unwrap();
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder.initial_stream_window_size(room);
    let (sender, connection) = builder.handshake(TokioIo::new(tcp)).await.unwrap();
    tokio::spawn(connection);
    sender
}

async fn send(
    sender: &mut SendRequest<Full<Bytes>>,
    world: &World,
    (method, path, key): (Method, &str, &str),
    body: &str,
) -> Response<Incoming> {
    let kind = if path == SAY_AS_KEY { "grpc" } else { "json" };
    let request = Request::builder()
        .method(method)
        .uri(format!("http://{}{path}", world.address))
        .header("authorization", format!("Bearer {key}"))
        .header("content-type", format!("application/{kind}"))
        .body(Full::from(body.to_owned()))
        .unwrap();
    sender.send_request(request).await.unwrap()
}

/// Takes an answer at so many bytes a second, to its end.
async fn taken_at(rate: u32, mut body: Incoming) -> Vec<u8> {
    let mut taken = Vec::new();
    while let Some(Ok(frame)) = body.frame().await {
        let Ok(data) = frame.into_data() else {
            continue;
        };
        taken.extend_from_slice(&data);
        sleep(Duration::from_secs_f64(data.len() as f64 / f64::from(rate))).await;
    }
    taken
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_whose_client_gives_room_too_slowly_is_reset_and_no_other() {
    let metrics = metrics();
    let limits = "[limits]\nmin_answer_rate = 100000\nrate_grace = '1s'";
    let world = World::start_with(limits).await;
    let (key, _) = world.identity.key(&["chat"]);
    let mut sender = with_room(&world, 16 << 10).await;
    let ask = |n: u32| json!({"stream": true, "n": n, "text": "x".repeat(8 << 10)}).to_string();
    let chat = || (Method::POST, CHAT, key.as_str());

    let slow = send(&mut sender, &world, chat(), &ask(10_000)).await;
    let slow = timeout(2 * PATIENCE, taken_at(10_000, slow.into_body()));
    let fast_enough = send(&mut sender, &world, chat(), &ask(100)).await;
    let fast_enough = timeout(2 * PATIENCE, taken_at(200_000, fast_enough.into_body()));
    let (slow, fast_enough) = tokio::join!(slow, fast_enough);
    assert!(slow.unwrap().len() < 1 << 20);
    assert!(fast_enough.unwrap().ends_with(b"data: [DONE]\n\n"));
    wait_for("the end of the call", PATIENCE, || async {
        *world.inference.gone.lock() == 1
    })
    .await;
    assert_eq!(value(&metrics, STREAMS), 1.0);
    assert_eq!(value(&metrics, CONNECTIONS), 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_for_which_a_stream_has_no_room_does_not_wait_without_end() {
    let metrics = metrics();
    let world = World::start_with("[limits]\nstall_timeout = '300ms'").await;
    let (key, _) = world.identity.key(&["chat"]);
    let mut sender = with_room(&world, 0).await;
    let body = json!({"stream": true, "n": 1000}).to_string();
    let asked = [(Method::GET, "/healthz"), (Method::POST, CHAT)];
    for (count, (method, path)) in (1_u32..).zip(asked) {
        let request = (method, path, key.as_str());
        let answer = send(&mut sender, &world, request, &body).await;
        assert_eq!(answer.status(), 200);
        wait_for("the end of the stream", PATIENCE, || async {
            value(&metrics, STREAMS) == f64::from(count)
        })
        .await;
    }
    // The connection is as it was.
    let request = (Method::GET, "/nothing", key.as_str());
    let answer = send(&mut sender, &world, request, "").await;
    assert_eq!(answer.status(), 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_bytes_of_an_answer_do_not_wait_without_end() {
    let metrics = metrics();
    let world = World::start_with("[limits]\nstall_timeout = '300ms'").await;
    let (key, _) = world.identity.key(&["chat"]);
    // With room for its first byte a piece is HTTP/2's: no other comes after it.
    let mut sender = with_room(&world, 1).await;
    let whole = json!({"text": "{}"}).to_string();
    let events = json!({"stream": true, "n": 1}).to_string();
    let asked = [
        (Method::GET, "/healthz", ""),
        (Method::POST, CHAT, whole.as_str()),
        (Method::POST, CHAT, events.as_str()),
        (Method::POST, SAY_AS_KEY, SAYS_X),
    ];
    for (count, (method, path, body)) in (1_u32..).zip(asked) {
        let answer = send(&mut sender, &world, (method, path, key.as_str()), body).await;
        assert_eq!(answer.status(), 200, "{path}");
        wait_for("the end of the stream", PATIENCE, || async {
            value(&metrics, STREAMS) == f64::from(count)
        })
        .await;
        // It sees that this is not all.
        let taken = timeout(PATIENCE, answer.into_body().collect()).await;
        taken.unwrap().unwrap_err();
    }
    // Who takes byte by byte gets all of it.
    let request = (Method::GET, "/healthz", key.as_str());
    let answer = send(&mut sender, &world, request, "").await;
    let taken = timeout(PATIENCE, answer.into_body().collect()).await;
    assert_eq!(taken.unwrap().unwrap().to_bytes(), "ok\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_silence_of_an_engine_is_not_its_clients() {
    let metrics = metrics();
    let limits = "[limits]\nmin_answer_rate = 1000000\nrate_grace = '200ms'\n\
                  stall_timeout = '300ms'\nkeep_alive = '500ms'";
    let world = World::start_with(limits).await;
    let (key, _) = world.identity.key(&["chat"]);
    let body = json!({"stream": true, "n": 4, "delay_ms": 700});
    let first = world.post(CHAT).bearer_auth(&key).json(&body).send();
    let text = async { first.await.unwrap().text().await.unwrap() };
    let mut sender = with_room(&world, 16 << 10).await;
    let body = body.to_string();
    let request = (Method::POST, CHAT, key.as_str());
    let second = send(&mut sender, &world, request, &body);
    let bytes = async { second.await.into_body().collect().await.unwrap().to_bytes() };
    let (text, bytes) = tokio::join!(text, bytes);
    for said in [text.as_bytes(), &bytes] {
        assert!(said.ends_with(b"data: [DONE]\n\n"));
    }
    for series in [STREAMS, CONNECTIONS, "edge_stalled_connections_total"] {
        assert_eq!(value(&metrics, series), 0.0, "{series}");
    }
}
