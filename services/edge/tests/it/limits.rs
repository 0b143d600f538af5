use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tonic::{Code, Request};

use crate::world::{World, reason, say};

/// Sends bytes, some time apart, and reads until the edge closes; what it said, and when.
pub async fn speak(address: SocketAddr, parts: &[&str], pause: Duration) -> (String, Duration) {
    let begun = Instant::now();
    let tcp = TcpStream::connect(address).await.unwrap();
    let (mut read, mut write) = tcp.into_split();
    let parts: Vec<_> = parts.iter().map(|part| (*part).to_owned()).collect();
    let writing = tokio::spawn(async move {
        for part in parts {
            if write.write_all(part.as_bytes()).await.is_err() {
                break;
            }
            tokio::time::sleep(pause).await;
        }
        write
    });
    let mut said = Vec::new();
    let reading = tokio::time::timeout(Duration::from_secs(8), read.read_to_end(&mut said));
    let _ = reading.await.expect("the edge closes the connection");
    writing.abort();
    (String::from_utf8_lossy(&said).into_owned(), begun.elapsed())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_sends_its_headers_too_slowly_is_closed() {
    let world = World::start_with("[limits]\nheader_timeout = '500ms'").await;
    let drops = [
        "GET /healthz HTTP/1.1\r\n",
        "a: b\r\n",
        "c: d\r\n",
        "e: f\r\n",
        "g: h\r\n",
        "i: j\r\n",
    ];
    let preface = ["PRI * ", "HTTP", "/2", ".0", "\r", "\n", "\r", "\n"];
    let silent: [&str; 0] = [];
    for parts in [&drops[..], &preface[..], &silent[..]] {
        let (_, elapsed) = speak(world.address, parts, Duration::from_millis(300)).await;
        assert!(elapsed < Duration::from_secs(2), "{parts:?}: {elapsed:?}");
    }
    // Who is quick is served.
    assert_eq!(world.get("/healthz").send().await.unwrap().status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_that_are_too_many_or_too_large_are_refused() {
    let world = World::start().await;
    let many: String = (0..70).map(|n| format!("x-{n}: y\r\n")).collect();
    let large = format!("x-large: {}\r\n", "y".repeat(40_000));
    for headers in [many, large] {
        let request = format!("GET /healthz HTTP/1.1\r\nhost: x\r\n{headers}\r\n");
        let (said, _) = speak(world.address, &[&request], Duration::ZERO).await;
        assert!(said.starts_with("HTTP/1.1 431"), "{said}");
    }
    let grpc = world.grpc().await;
    let mut request = Request::new(say("x"));
    for n in 0..70 {
        let name: tonic::metadata::AsciiMetadataKey = format!("x-{n}").parse().unwrap();
        request.metadata_mut().insert(name, "y".parse().unwrap());
    }
    grpc.say("Say", request).await.unwrap_err();
    let mut request = Request::new(say("x"));
    request
        .metadata_mut()
        .insert("x-large", "y".repeat(40_000).parse().unwrap());
    grpc.say("Say", request).await.unwrap_err();
    assert_eq!(world.echo.count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_comes_too_slowly_is_refused() {
    let world = World::start_with("[limits]\nbody_timeout = '300ms'").await;
    let request = "POST /wanwu.billing.v1.EchoService/Say HTTP/1.1\r\nhost: x\r\n\
                   content-type: application/json\r\ncontent-length: 100\r\n\r\n{";
    let (said, elapsed) = speak(world.address, &[request, " ", " "], Duration::from_secs(3)).await;
    assert!(said.starts_with("HTTP/1.1 408"), "{said}");
    assert!(said.contains("\"reason\":\"REQUEST_TOO_SLOW\""), "{said}");
    assert!(elapsed < Duration::from_secs(2), "{elapsed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_request_more_than_there_are_places_is_told_to_come_again() {
    let world = World::start_with("[limits]\nmax_requests = 1").await;
    let (key, _) = world.identity.key(&["chat"]);
    let body = json!({"stream": true, "n": 2, "delay_ms": 60_000});
    let chat = || {
        world
            .post("/v1/chat/completions")
            .bearer_auth(&key)
            .json(&body)
            .send()
    };
    let mut streamed = chat().await.unwrap();
    streamed.chunk().await.unwrap().unwrap();
    let refused = chat().await.unwrap();
    assert_eq!(refused.status(), 429);
    assert_eq!(refused.headers()["retry-after"], "1");
    let status = world
        .grpc()
        .await
        .say("Say", Request::new(say("x")))
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert_eq!(reason(&status), "RATE_LIMITED");
    assert_eq!(world.get("/healthz").send().await.unwrap().status(), 200);
    drop(streamed);
    wanwu_testkit::wait_for("the place", crate::world::PATIENCE, || async {
        world
            .grpc()
            .await
            .say("Say", Request::new(say("x")))
            .await
            .is_ok()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_method_that_is_asked_for_in_another_way_says_how() {
    let world = World::start().await;
    for content_type in ["application/grpc", "text/plain"] {
        let request = world.post("/wanwu.billing.v1.EchoService/Say");
        let answer = request
            .header("content-type", content_type)
            .body("")
            .send()
            .await;
        assert_eq!(answer.unwrap().status(), 415, "{content_type}");
    }
    assert_eq!(
        world
            .post("/nothing")
            .body("")
            .send()
            .await
            .unwrap()
            .status(),
        404
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_that_began_end_well_when_the_edge_stops() {
    let world = World::start().await;
    let (key, _) = world.identity.key(&["chat"]);
    let body = json!({"stream": true, "n": 3, "delay_ms": 300});
    let chat = || {
        world
            .post("/v1/chat/completions")
            .bearer_auth(&key)
            .json(&body)
            .send()
    };
    let mut streamed = chat().await.unwrap();
    streamed.chunk().await.unwrap().unwrap();
    world.edge_stop.cancel();
    tokio::time::sleep(Duration::from_millis(100)).await;
    chat().await.unwrap_err();
    assert!(streamed.text().await.unwrap().ends_with("data: [DONE]\n\n"));
}
