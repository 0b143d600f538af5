use std::{sync::atomic::Ordering, time::Duration};

use tokio::{net::TcpStream, time::Instant};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};
use wanwu_proto::identity::v1::WatchStandingsRequest;

use crate::stand::{Stand, ask};

#[tokio::test]
async fn a_draining_server_says_so_and_still_answers() {
    let stand = Stand::start().await;
    let mut health = HealthClient::new(stand.channel("edge"));
    let ask_health = HealthCheckRequest {
        service: String::new(),
    };
    let before = health
        .check(ask_health.clone())
        .await
        .unwrap()
        .into_inner()
        .status();
    assert_eq!(before, ServingStatus::Serving);
    stand.draining.cancel();
    tokio::time::sleep(Duration::from_millis(50)).await;
    let after = health
        .check(ask_health)
        .await
        .unwrap()
        .into_inner()
        .status();
    assert_eq!(after, ServingStatus::NotServing);
    stand.client("edge").get_standing(ask("")).await.unwrap();
}

#[tokio::test]
async fn a_stopping_server_lets_calls_finish_and_takes_no_more() {
    let stand = Stand::start().await;
    let mut client = stand.client("edge");
    let slow = tokio::spawn(async move { client.get_standing(ask("slow")).await });
    while stand.handler.calls.load(Ordering::SeqCst) == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    stand.stop.cancel();
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(
        TcpStream::connect(stand.address).await.is_err(),
        "it still listens"
    );
    slow.await.unwrap().unwrap();
    tokio::time::timeout(Duration::from_secs(1), stand.run)
        .await
        .unwrap()
        .unwrap();
}

#[tokio::test]
async fn a_stopping_server_ends_although_a_stream_does_not() {
    let stand = Stand::start().await;
    let mut client = stand.client("edge");
    let mut stream = client
        .watch_standings(WatchStandingsRequest {})
        .await
        .unwrap()
        .into_inner();
    stream.message().await.unwrap();
    let begun = Instant::now();
    stand.stop.cancel();
    tokio::time::timeout(Duration::from_secs(4), stand.run)
        .await
        .unwrap()
        .unwrap();
    assert!(
        begun.elapsed() >= Duration::from_secs(2),
        "the stream had its time"
    );
}

#[tokio::test]
async fn a_silent_peer_does_not_keep_a_server_from_ending() {
    let stand = Stand::start().await;
    let _silent = TcpStream::connect(stand.address).await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    stand.stop.cancel();
    tokio::time::timeout(Duration::from_secs(1), stand.run)
        .await
        .unwrap()
        .unwrap();
}
