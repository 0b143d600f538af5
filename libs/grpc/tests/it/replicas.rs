use std::{net::SocketAddr, sync::atomic::Ordering, time::Duration};

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::Code;
use wanwu_grpc::{Affinity, Channel, PeerAddress, testing::TestAuthority};
use wanwu_proto::identity::v1::standing_service_client::StandingServiceClient;

use crate::stand::{Handler, Stand, ask, at, config, serve};

#[tokio::test]
async fn calls_spread_over_replicas() {
    let one = Stand::start().await;
    let other = Handler::default();
    let tls = one.authority.tls("identity").unwrap();
    let token = CancellationToken::new();
    let config = config(SocketAddr::from(([127, 0, 0, 1], 0)));
    let (address, _) = serve(&config, &tls, &other, &token, &token).await;
    let tls = one.authority.tls("edge").unwrap();
    let channel = Channel::new("identity", at(&[one.address, address]), &tls);
    tokio::time::sleep(Duration::from_millis(200)).await;
    let mut client = StandingServiceClient::new(channel);
    for _ in 0..20 {
        client.get_standing(ask("")).await.unwrap();
    }
    assert_eq!(one.handler.calls.load(Ordering::SeqCst), 10);
    assert_eq!(other.calls.load(Ordering::SeqCst), 10);
}

#[tokio::test]
async fn a_dead_replica_gets_no_share() {
    let stand = Stand::start().await;
    let dead = SocketAddr::from(([127, 0, 0, 1], 1));
    let tls = stand.authority.tls("edge").unwrap();
    let mut client =
        StandingServiceClient::new(Channel::new("identity", at(&[dead, stand.address]), &tls));
    for _ in 0..10 {
        client.get_standing(ask("")).await.unwrap();
    }
}

#[tokio::test]
async fn a_restart_is_survived_without_a_failed_call() {
    let stand = Stand::start().await;
    let mut client = stand.client("edge");
    client.get_standing(ask("")).await.unwrap();
    stand.stop.cancel();
    stand.run.await.unwrap();
    let call = tokio::spawn(async move { client.get_standing(ask("")).await.map(|_| client) });
    tokio::time::sleep(Duration::from_millis(300)).await;
    let tls = stand.authority.tls("identity").unwrap();
    let token = CancellationToken::new();
    let (_, _) = serve(&config(stand.address), &tls, &stand.handler, &token, &token).await;
    let mut client = call
        .await
        .unwrap()
        .expect("the call waited for the restart");
    client.get_standing(ask("")).await.unwrap();
}

#[tokio::test]
async fn a_service_that_is_away_is_unavailable_after_a_second() {
    let authority = TestAuthority::start().unwrap();
    let nowhere = at(&[SocketAddr::from(([127, 0, 0, 1], 1))]);
    let channel = Channel::new("identity", nowhere, &authority.tls("edge").unwrap());
    let begun = Instant::now();
    let error = StandingServiceClient::new(channel)
        .get_standing(ask(""))
        .await
        .unwrap_err();
    assert_eq!(error.code(), Code::Unavailable);
    assert!(begun.elapsed() < Duration::from_millis(1_500));
}

#[tokio::test]
async fn a_name_is_looked_up() {
    let stand = Stand::start().await;
    let name = PeerAddress::Dns(format!("localhost:{}", stand.address.port()));
    let tls = stand.authority.tls("edge").unwrap();
    let mut client = StandingServiceClient::new(Channel::new("identity", name, &tls));
    client.get_standing(ask("")).await.unwrap();
}

#[tokio::test]
async fn an_old_connection_is_replaced_without_a_failed_call() {
    let stand = Stand::start_with(Handler::default(), |config| {
        config.max_connection_age = Duration::from_millis(200);
    })
    .await;
    let mut client = stand.client("edge");
    let end = Instant::now() + Duration::from_millis(1_500);
    while Instant::now() < end {
        client.get_standing(ask("")).await.unwrap();
    }
}

/// A call may be on its way when the server says that it takes no more (RFC 9113, 6.8): the server
/// says which ones it never saw.
#[tokio::test(flavor = "multi_thread")]
async fn no_call_of_many_is_lost_when_connections_are_replaced() {
    let stand = Stand::start_with(Handler::default(), |config| {
        config.max_connection_age = Duration::from_millis(5);
    })
    .await;
    let client = stand.client("edge");
    let end = Instant::now() + Duration::from_secs(3);
    let callers = (0..32).map(|_| {
        let mut client = client.clone();
        tokio::spawn(async move {
            let mut calls = 0;
            while Instant::now() < end {
                client.get_standing(ask("")).await.unwrap();
                calls += 1;
            }
            calls
        })
    });
    let mut answered = 0;
    for caller in callers.collect::<Vec<_>>() {
        answered += caller.await.unwrap();
    }
    // None was made twice.
    assert_eq!(stand.handler.calls.load(Ordering::SeqCst), answered);
}

#[tokio::test]
async fn calls_that_are_alike_go_to_one_replica_until_it_is_lost() {
    let one = Stand::start().await;
    let other = Handler::default();
    let tls = one.authority.tls("identity").unwrap();
    let token = CancellationToken::new();
    let config = config(SocketAddr::from(([127, 0, 0, 1], 0)));
    let (address, _) = serve(&config, &tls, &other, &token, &token).await;
    let tls = one.authority.tls("edge").unwrap();
    let channel = Channel::new("identity", at(&[one.address, address]), &tls);
    tokio::time::sleep(Duration::from_millis(200)).await;
    let client = StandingServiceClient::new(channel);
    let call = async |kind: u64| {
        let mut request = ask("");
        request.extensions_mut().insert(Affinity(kind));
        client.clone().get_standing(request).await.unwrap();
    };
    let counts = || {
        let count = |handler: &Handler| handler.calls.load(Ordering::SeqCst);
        (count(&one.handler), count(&other))
    };
    // Two kinds that belong to different replicas.
    let mut kinds = Vec::new();
    for kind in 0..64 {
        let before = counts();
        call(kind).await;
        kinds.push((counts().0 > before.0, kind));
    }
    let of = |to_one: bool| kinds.iter().find(|(is, _)| *is == to_one).unwrap().1;
    let (its, others) = (of(true), of(false));
    let before = counts();
    for _ in 0..8 {
        call(its).await;
        call(others).await;
    }
    assert_eq!(counts(), (before.0 + 8, before.1 + 8));

    one.stop.cancel();
    one.run.await.unwrap();
    call(its).await;
    call(others).await;
    assert_eq!(counts(), (before.0 + 8, before.1 + 10));
}
