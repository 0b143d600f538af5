use std::time::{Duration, Instant};

use futures::{StreamExt, stream};
use tonic::{Code, Request, client::Grpc};
use tonic_prost::ProstCodec;
use wanwu_access::{Subject, read_principal};

use crate::{
    echo::Say,
    world::{World, reason, say},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_call_passes_with_its_headers_and_trailers() {
    let world = World::start().await;
    let mut request = Request::new(say("hello"));
    request
        .metadata_mut()
        .insert("x-own", "kept".parse().unwrap());
    let answer = world.grpc().await.say("Say", request).await.unwrap();
    assert_eq!(answer.metadata().get("x-header").unwrap(), "kept");
    assert_eq!(answer.metadata().get("x-trailer").unwrap(), "kept");
    let request_id = answer
        .metadata()
        .get("wanwu-request-id")
        .unwrap()
        .to_str()
        .unwrap();
    assert_eq!(answer.get_ref(), &say("hello"));
    let heard = world.echo.last();
    assert_eq!(heard["x-own"], "kept");
    assert_eq!(heard["wanwu-request-id"], request_id);
    assert!(heard.contains_key("grpc-timeout"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_passes_message_by_message() {
    let world = World::start().await;
    let mut grpc = Grpc::new(world.grpc().await.0);
    grpc.ready().await.unwrap();
    let path = "/wanwu.billing.v1.EchoService/Count".parse().unwrap();
    let codec = ProstCodec::<Say, Say>::default();
    let request = Request::new(Say {
        text: "n".to_owned(),
        number: 300,
    });
    let begun = Instant::now();
    let mut counted = grpc
        .server_streaming(request, path, codec)
        .await
        .unwrap()
        .into_inner();
    assert_eq!(counted.message().await.unwrap().unwrap().number, 1);
    assert!(
        begun.elapsed() < Duration::from_millis(250),
        "the first message was held back"
    );
    assert_eq!(counted.message().await.unwrap().unwrap().number, 2);
    assert_eq!(counted.message().await.unwrap().unwrap().number, 3);
    assert!(counted.message().await.unwrap().is_none());
    assert_eq!(
        counted
            .trailers()
            .await
            .unwrap()
            .unwrap()
            .get("x-trailer")
            .unwrap(),
        "kept"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_of_a_client_passes() {
    let world = World::start().await;
    let mut grpc = Grpc::new(world.grpc().await.0);
    grpc.ready().await.unwrap();
    let path = "/wanwu.billing.v1.EchoService/Collect".parse().unwrap();
    let says = stream::iter(1..=3).map(|number| Say {
        text: "x".to_owned(),
        number,
    });
    let codec = ProstCodec::<Say, Say>::default();
    let answer = grpc
        .client_streaming(Request::new(says), path, codec)
        .await
        .unwrap();
    assert_eq!(
        answer.into_inner(),
        Say {
            text: "xxx".to_owned(),
            number: 6
        }
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_status_passes_with_its_details() {
    let world = World::start().await;
    let status = world
        .grpc()
        .await
        .say("Say", Request::new(say("fail")))
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition);
    assert_eq!(status.message(), "there are too many");
    assert_eq!(reason(&status), "TOO_MANY");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_client_says_of_itself_is_not_believed() {
    let world = World::start().await;
    let (token, account) = world.identity.account();
    let mut request = Request::new(say("hello"));
    let metadata = request.metadata_mut();
    metadata.insert("authorization", format!("Bearer {token}").parse().unwrap());
    metadata.insert_bin(
        "wanwu-principal-bin",
        tonic::metadata::MetadataValue::from_bytes(b"forged"),
    );
    metadata.insert("wanwu-request-id", "forged".parse().unwrap());
    metadata.insert("wanwu-anything", "forged".parse().unwrap());
    metadata.insert("x-forwarded-for", "8.8.8.8".parse().unwrap());
    world
        .grpc()
        .await
        .say("SayAsAccount", request)
        .await
        .unwrap();
    let heard = world.echo.last();
    for (name, value) in &heard {
        assert_ne!(value, "forged", "{name}");
    }
    for gone in ["authorization", "x-forwarded-for", "wanwu-anything"] {
        assert!(!heard.contains_key(gone), "{gone}");
    }
    assert_eq!(heard.get_all("wanwu-principal-bin").iter().count(), 1);
    let caller = read_principal(heard["wanwu-principal-bin"].as_bytes()).unwrap();
    let Subject::Account { account_id, .. } = caller.subject else {
        panic!("it is the account");
    };
    assert_eq!(account_id.uuid(), account);
    assert!(caller.mainland);
    assert_eq!(caller.address_key.len(), 32);
    assert_eq!(
        caller.request_id,
        heard["wanwu-request-id"].to_str().unwrap()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_public_is_not_there() {
    let world = World::start().await;
    let grpc = world.grpc().await;
    let (token, _) = world.identity.account();
    for method in ["SayInside", "SayWithoutRule", "SayNothing", ""] {
        for status in [
            grpc.say(method, Request::new(say("x"))).await.unwrap_err(),
            grpc.say_as(method, &token).await.unwrap_err(),
        ] {
            assert_eq!(status.code(), Code::Unimplemented, "{method}");
            assert_eq!(reason(&status), "UNKNOWN_METHOD");
        }
    }
    assert_eq!(world.echo.count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_is_away_is_said_to_be_unavailable() {
    let world = World::start().await;
    let (token, _) = world.identity.account();
    let body = serde_json::json!({});
    let path = "/wanwu.device.v1.LicenceService/RevokeLicence";
    let answer = world
        .post(path)
        .bearer_auth(token)
        .json(&body)
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 503);
    assert_eq!(answer.headers()["retry-after"], "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_takes_too_long_ends_at_its_deadline() {
    let world = World::start_with("[limits]\nunary_timeout = '300ms'").await;
    let grpc = world.grpc().await;
    let begun = Instant::now();
    let status = grpc
        .say("Say", Request::new(say("sleep")))
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded);
    assert!(begun.elapsed() < Duration::from_secs(3));
    let mut request = Request::new(say("sleep"));
    request
        .metadata_mut()
        .insert("grpc-timeout", "50m".parse().unwrap());
    let begun = Instant::now();
    // The client's own library may be the first to notice, and calls it so.
    let status = grpc.say("Say", request).await.unwrap_err();
    assert!(matches!(
        status.code(),
        Code::DeadlineExceeded | Code::Cancelled
    ));
    assert!(begun.elapsed() < Duration::from_millis(250));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_too_large_is_refused() {
    let world = World::start_with("[limits]\nmax_grpc_body = 100000").await;
    let grpc = world.grpc().await;
    let large = Say {
        text: "x".repeat(200_000),
        number: 0,
    };
    let status = grpc.say("Say", Request::new(large)).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert_eq!(reason(&status), "TOO_LARGE");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_away_ends_the_stream_behind_the_edge() {
    let world = World::start().await;
    let mut grpc = Grpc::new(world.grpc().await.0);
    grpc.ready().await.unwrap();
    let path = "/wanwu.billing.v1.EchoService/Count".parse().unwrap();
    let codec = ProstCodec::<Say, Say>::default();
    let request = Request::new(Say {
        text: "n".to_owned(),
        number: 60_000,
    });
    let mut counted = grpc
        .server_streaming(request, path, codec)
        .await
        .unwrap()
        .into_inner();
    counted.message().await.unwrap().unwrap();
    drop(counted);
    wanwu_testkit::wait_for("the end of the stream", Duration::from_secs(2), || async {
        *world.echo.dropped.lock() == 1
    })
    .await;
}
