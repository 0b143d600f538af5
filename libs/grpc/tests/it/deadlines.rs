use std::{sync::atomic::Ordering, time::Duration};

use tokio::time::Instant;
use tonic::{Code, Request};
use tonic_types::StatusExt;
use wanwu_grpc::Context;
use wanwu_proto::identity::v1::WatchStandingsRequest;

use crate::stand::{Handler, Stand, ask};

#[tokio::test]
async fn a_call_ends_at_its_deadline_on_both_sides() {
    let stand = Stand::start().await;
    let mut client = stand.client("edge");
    client.get_standing(ask("")).await.unwrap();
    let mut request = ask("slow");
    request.set_timeout(Duration::from_millis(200));
    let begun = Instant::now();
    let error = client.get_standing(request).await.unwrap_err();
    assert_eq!(error.code(), Code::DeadlineExceeded);
    assert!(begun.elapsed() < Duration::from_millis(600));
    let reason = error.get_details_error_info().unwrap().reason;
    assert_eq!(reason, "DEADLINE_EXCEEDED");
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(
        stand.handler.finished.load(Ordering::SeqCst),
        0,
        "the server went on"
    );
}

#[tokio::test]
async fn a_call_without_a_deadline_gets_one() {
    let stand = Stand::start().await;
    let answer = stand
        .client("edge")
        .get_standing(ask("remaining"))
        .await
        .unwrap();
    let left = answer.into_inner().standing.unwrap().version;
    assert!((8_000..=10_000).contains(&left), "{left}");
}

#[tokio::test]
async fn what_is_left_of_a_deadline_travels_on() {
    let far = Stand::start().await;
    let handler = Handler {
        onward: Some(far.channel("edge")),
        ..Handler::default()
    };
    let near = Stand::start_with(handler, |_| {}).await;
    let mut request = ask("remaining there");
    request.set_timeout(Duration::from_secs(2));
    let answer = near.client("edge").get_standing(request).await.unwrap();
    let left = answer.into_inner().standing.unwrap().version;
    assert!((1_000..=1_700).contains(&left), "{left}");
}

#[tokio::test]
async fn a_deadline_that_passed_sends_nothing() {
    let stand = Stand::start().await;
    let mut client = stand.client("edge");
    let context = Context::begin().within(Duration::ZERO);
    let error = context
        .scope(client.get_standing(ask("")))
        .await
        .unwrap_err();
    assert_eq!(error.code(), Code::DeadlineExceeded);
    assert_eq!(stand.handler.calls.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_stream_ends_at_its_deadline_and_one_without_goes_on() {
    let stand = Stand::start().await;
    let mut client = stand.client("edge");
    let mut request = Request::new(WatchStandingsRequest {});
    request.set_timeout(Duration::from_millis(400));
    let mut limited = client.watch_standings(request).await.unwrap().into_inner();
    let mut endless = client
        .watch_standings(WatchStandingsRequest {})
        .await
        .unwrap()
        .into_inner();
    let mut items = 0;
    let error = loop {
        match limited.message().await {
            Ok(item) => items += usize::from(item.is_some()),
            Err(error) => break error,
        }
    };
    assert_eq!(error.code(), Code::DeadlineExceeded);
    assert!(items >= 2, "{items}");
    tokio::time::sleep(Duration::from_millis(400)).await;
    for _ in 0..5 {
        assert!(endless.message().await.unwrap().is_some());
    }
}

#[tokio::test]
async fn the_id_of_the_request_travels() {
    let stand = Stand::start().await;
    let mut client = stand.client("edge");
    let context = Context::begin();
    let id = context.request_id().to_owned();
    let answer = context
        .scope(client.get_standing(ask("request id")))
        .await
        .unwrap();
    assert_eq!(answer.into_inner().standing.unwrap().account_id, id);
}
