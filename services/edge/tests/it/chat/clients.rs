//! Clients that go away or take nothing of what they asked for.

use std::{
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
};
use wanwu_testkit::wait_for;

use super::{CHAT, ask};
use crate::world::{PATIENCE, World};

/// Bytes of a frame that slow readers ask for.
const FRAME: usize = 8 << 10;

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_away_stops_the_call() {
    let world = World::start().await;
    let (key, _) = world.identity.key(&["chat"]);
    // While the answer streams, and before it begins.
    for (gone, (n, delay)) in (1..).zip([(1_000, 20), (2, 60_000)]) {
        let body = json!({"stream": true, "n": n, "delay_ms": delay});
        let mut answer = ask(&world, &key, &body).send().await.unwrap();
        answer.chunk().await.unwrap().unwrap();
        drop(answer);
        wait_for("the end of the call", Duration::from_secs(2), || async {
            *world.inference.gone.lock() == gone
        })
        .await;
    }
}

/// A client with little room that asks for a long stream and reads nothing of it.
pub async fn slow_reader(world: &World, key: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut tcp = socket.connect(world.address).await.unwrap();
    let text = "x".repeat(FRAME);
    let body = json!({"stream": true, "n": 10_000, "text": text}).to_string();
    let head = format!(
        "POST {CHAT} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    tcp.write_all(format!("{head}{body}").as_bytes())
        .await
        .unwrap();
    tcp
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_takes_nothing_loses_its_connection_and_its_call_ends() {
    let world = World::start_with("[limits]\nstall_timeout = '300ms'").await;
    let (key, _) = world.identity.key(&["chat"]);
    let _reader = slow_reader(&world, &key).await;
    wait_for("the end of the call", PATIENCE, || async {
        *world.inference.gone.lock() == 1
    })
    .await;
}

/// Waits until nothing more is sent for a second, and never more than `most` frames.
async fn nothing_more_is_sent(world: &World, most: usize) {
    let sent = || world.inference.sent.load(Ordering::Relaxed) as usize;
    let begun = Instant::now();
    loop {
        let before = sent();
        tokio::time::sleep(Duration::from_secs(1)).await;
        let after = sent();
        assert!(after <= most, "{after} frames were sent to nobody");
        if after == before {
            return;
        }
        assert!(begun.elapsed() < 3 * PATIENCE, "{after} frames, and more");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_readers_hold_up_nobody_else() {
    const READERS: usize = 24;
    // HTTP/2's window of 64 KiB, what waits on both sides of it, and what the kernel keeps of the
    // connection of each: some MiB of the eighty that it asked for.
    const WAITS: usize = 8 << 20;
    let world = World::start().await;
    let (key, _) = world.identity.key(&["chat"]);
    let mut readers = Vec::new();
    for _ in 0..READERS {
        readers.push(slow_reader(&world, &key).await);
    }
    wait_for("all of them to be answered", PATIENCE, || async {
        world.inference.requests.lock().len() == READERS
    })
    .await;
    // Until every one of them has filled what there is to fill.
    nothing_more_is_sent(&world, READERS * WAITS / FRAME).await;
    let body = json!({"stream": true, "n": 2});
    let answer = async { ask(&world, &key, &body).send().await.unwrap().text().await };
    let text = tokio::time::timeout(Duration::from_secs(5), answer).await;
    assert!(
        text.expect("it waits for others")
            .unwrap()
            .ends_with("[DONE]\n\n")
    );
    assert_eq!(*world.inference.gone.lock(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_hangs_up_before_the_answer_stops_the_call() {
    let world = World::start().await;
    let (key, _) = world.identity.key(&["chat"]);
    let body = json!({"stream": true, "n": 2, "delay_ms": 60_000}).to_string();
    let mut tcp = TcpStream::connect(world.address).await.unwrap();
    let head = format!(
        "POST {CHAT} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    tcp.write_all(format!("{head}{body}").as_bytes())
        .await
        .unwrap();
    let mut answer = [0; 12];
    tcp.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200");
    drop(tcp);
    wait_for("the end of the call", PATIENCE, || async {
        *world.inference.gone.lock() == 1
    })
    .await;
}
