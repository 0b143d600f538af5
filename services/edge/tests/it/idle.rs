//! Connections on which nothing is asked.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::{
    body::Incoming,
    client::conn::http2::{self, SendRequest},
};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use metrics_exporter_prometheus::PrometheusBuilder;
use serde_json::json;
use tokio::{net::TcpStream, task::JoinHandle, time::timeout};

use crate::{
    limits::speak,
    metrics::value,
    world::{PATIENCE, World},
};

const LIMITS: &str = "[limits]\nidle_timeout = '500ms'";
const IDLE: Duration = Duration::from_millis(500);
const ENDED: &str = "edge_idle_connections_total";
/// A request is answered before its client has its answer.
const EARLIER: Duration = Duration::from_millis(100);

/// A client of HTTP/2 that sends pings and answers them; and the end of its connection.
async fn client(world: &World) -> (SendRequest<Full<Bytes>>, JoinHandle<hyper::Result<()>>) {
    let tcp = TcpStream::connect(world.address).await.unwrap();
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .keep_alive_interval(Duration::from_millis(100))
        .keep_alive_while_idle(true);
    let (sender, connection) = builder.handshake(TokioIo::new(tcp)).await.unwrap();
    (sender, tokio::spawn(connection))
}

async fn health(sender: &mut SendRequest<Full<Bytes>>, world: &World) -> Response<Incoming> {
    let request = Request::get(format!("http://{}/healthz", world.address));
    let request = request.body(Full::default()).unwrap();
    sender.send_request(request).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_of_which_only_pings_come_is_told_to_end() {
    let metrics = PrometheusBuilder::new().install_recorder().unwrap();
    let world = World::start_with(LIMITS).await;
    let (mut sender, connection) = client(&world).await;
    let answer = health(&mut sender, &world).await;
    assert_eq!(
        answer.into_body().collect().await.unwrap().to_bytes(),
        "ok\n"
    );
    let begun = Instant::now();
    let ended = timeout(PATIENCE, connection).await.unwrap().unwrap();
    ended.unwrap();
    let rested = begun.elapsed();
    assert!(rested >= IDLE - EARLIER, "{rested:?}");
    assert_eq!(value(&metrics, ENDED), 1.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_on_which_a_stream_runs_stays_until_it_has_ended() {
    let metrics = PrometheusBuilder::new().install_recorder().unwrap();
    let world = World::start_with(LIMITS).await;
    let (key, _) = world.identity.key(&["chat"]);
    let (mut sender, connection) = client(&world).await;
    // Each of its pauses is longer than a connection may rest.
    let body = json!({"stream": true, "n": 3, "delay_ms": 700}).to_string();
    let request = Request::post(format!("http://{}/v1/chat/completions", world.address))
        .header("authorization", format!("Bearer {key}"))
        .body(Full::from(body))
        .unwrap();
    let answer = sender.send_request(request).await.unwrap();
    let events = answer.into_body().collect().await.unwrap().to_bytes();
    assert!(events.ends_with(b"data: [DONE]\n\n"), "{events:?}");
    assert_eq!(value(&metrics, ENDED), 0.0);
    assert_eq!(health(&mut sender, &world).await.status(), 200);
    timeout(PATIENCE, connection)
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    assert_eq!(value(&metrics, ENDED), 1.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_was_told_to_end_and_stays_is_cut() {
    let world = World::start_with(LIMITS).await;
    // An empty SETTINGS frame; nothing is answered to what comes.
    let silent = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\u{4}\0\0\0\0\0";
    let (said, elapsed) = speak(world.address, &[silent], Duration::ZERO).await;
    // The head of a GOAWAY frame and the highest stream that there can be.
    let goaway = "\0\0\u{8}\u{7}\0\0\0\0\0\u{7f}";
    assert!(said.contains(goaway), "{said:?}");
    assert!(elapsed >= 2 * IDLE - EARLIER, "{elapsed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_of_http_1_ends_when_no_headers_come_for_long_after_its_answer() {
    let world = World::start_with("[limits]\nheader_timeout = '500ms'").await;
    let request = "GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n";
    let (said, elapsed) = speak(world.address, &[request], Duration::ZERO).await;
    assert!(said.starts_with("HTTP/1.1 200"), "{said}");
    assert!(said.ends_with("ok\n"), "{said}");
    assert!(elapsed >= Duration::from_millis(450), "{elapsed:?}");
}
