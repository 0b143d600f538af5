//! The services behind the real server: certificates, access, metadata.

use std::time::Duration;

use futures::StreamExt;
use serde_json::{Value, json};
use sqlx::PgPool;
use tokio::time::{Instant, sleep};
use tonic::Code;
use tonic_types::StatusExt;
use wanwu_proto::inference::v1::{
    CreateChatCompletionRequest, GetCallRequest, ListModelsRequest,
    call_service_client::CallServiceClient, chat_service_client::ChatServiceClient,
    create_chat_completion_response::Frame, model_service_client::ModelServiceClient,
};

use crate::world::{World, chat, id, rows, served::Served, wait_for};

/// Where the head of a stream that begins without its first frame names the call.
const CALL: &str = "wanwu-call-id";

#[sqlx::test]
async fn an_answer_carries_its_label_in_its_metadata_at_both_ends(pool: PgPool) {
    let served = Served::around(World::start(pool.clone()).await, |_| {}).await;
    let mut client = ChatServiceClient::new(served.channel("edge"));
    let response = client
        .create_chat_completion(served.chat(json!({"tokens": 3})))
        .await
        .unwrap();
    // Its first frame is there, and names the call.
    assert!(response.metadata().get(CALL).is_none());
    let label = response
        .metadata()
        .get("wanwu-aigc")
        .unwrap()
        .to_str()
        .unwrap()
        .to_owned();
    let mut frames = response.into_inner();
    let mut chunks = Vec::new();
    let mut call_id = String::new();
    while let Some(frame) = frames.next().await {
        let frame = frame.unwrap();
        if chunks.is_empty() {
            assert!(frame.stream);
            call_id.clone_from(&frame.call_id);
        } else {
            assert!(frame.call_id.is_empty() && !frame.stream);
        }
        let Some(Frame::Data(data)) = frame.frame else {
            panic!("{frame:?}")
        };
        chunks.push(serde_json::from_slice::<Value>(&data).unwrap());
    }
    let trailers = frames.trailers().await.unwrap().unwrap();
    assert_eq!(trailers.get("wanwu-aigc").unwrap().to_str().unwrap(), label);
    let label: Value = serde_json::from_str(&label).unwrap();
    assert_eq!(
        (&label["ProduceID"], &chunks[0]["aigc"]),
        (&json!(call_id), &label)
    );
    assert_eq!(rows::ended(&pool, &call_id).await.output_tokens, 3);
}

#[sqlx::test]
async fn the_head_of_a_stream_that_is_long_in_coming_names_the_call(pool: PgPool) {
    const SILENCE: Duration = Duration::from_secs(3);
    let world = World::with(pool.clone(), |sections| {
        sections.chat.begin_after = Duration::from_millis(50);
    })
    .await;
    let served = Served::around(world, |_| {}).await;
    let mut client = ChatServiceClient::new(served.channel("edge"));
    let script = json!({"tokens": 2, "first_delay_ms": SILENCE.as_millis() as u64});
    let asked = Instant::now();
    let answer = client.create_chat_completion(served.chat(script)).await;
    let response = answer.unwrap();
    let begun = asked.elapsed();
    assert!(begun < SILENCE / 2, "{begun:?}");
    let named = response.metadata().get(CALL).unwrap();
    let named = named.to_str().unwrap().to_owned();
    assert!(response.metadata().get("wanwu-aigc").is_some());
    let mut frames = response.into_inner();
    let first = frames.next().await.unwrap().unwrap();
    assert!(asked.elapsed() >= SILENCE, "the engine was not silent");
    assert_eq!((first.call_id, first.stream), (named.clone(), true));
    while let Some(frame) = frames.next().await {
        let frame = frame.unwrap().frame;
        assert!(matches!(frame, Some(Frame::Data(_))), "{frame:?}");
    }
    assert_eq!(rows::ended(&pool, &named).await.output_tokens, 2);
}

#[sqlx::test]
async fn a_stream_that_waits_for_its_turn_begins_before_it_has_it(pool: PgPool) {
    let world = World::with(pool.clone(), |sections| {
        sections.chat.max_running = 1;
        sections.chat.queue_timeout = Duration::from_secs(60);
        sections.chat.begin_after = Duration::from_millis(50);
    })
    .await;
    let served = Served::around(world, |_| {}).await;
    let mut client = ChatServiceClient::new(served.channel("edge"));
    let long = json!({"tokens": 30, "delay_ms": 100});
    let first = client.create_chat_completion(served.chat(long)).await;
    let mut first = first.unwrap().into_inner();
    let waits = client.create_chat_completion(served.chat(json!({"tokens": 2})));
    let waits = waits.await.unwrap();
    // There is one place, and the first call has it.
    let admission = &served
        .world
        .app
        .chat
        .catalogue
        .find("test")
        .unwrap()
        .admission;
    assert_eq!(admission.load(), (1, 1));
    assert_eq!(served.world.engine.calls(), 1);
    let named = waits.metadata().get(CALL).unwrap();
    let named = named.to_str().unwrap().to_owned();
    while let Some(frame) = first.next().await {
        frame.unwrap();
    }
    let mut frames = waits.into_inner();
    let frame = frames.next().await.unwrap().unwrap();
    assert_eq!((frame.call_id, frame.stream), (named.clone(), true));
    while let Some(frame) = frames.next().await {
        frame.unwrap();
    }
    assert_eq!(rows::ended(&pool, &named).await.output_tokens, 2);
}

#[sqlx::test]
async fn a_refusal_after_the_head_of_a_stream_still_says_when_to_come_again(pool: PgPool) {
    let world = World::with(pool, |sections| {
        sections.chat.max_running = 1;
        sections.chat.queue_timeout = Duration::from_millis(300);
        sections.chat.begin_after = Duration::from_millis(50);
    })
    .await;
    let served = Served::around(world, |_| {}).await;
    let mut client = ChatServiceClient::new(served.channel("edge"));
    let long = json!({"tokens": 300, "delay_ms": 100});
    let first = client.create_chat_completion(served.chat(long)).await;
    let _first = first.unwrap();
    let waits = client.create_chat_completion(served.chat(json!({"tokens": 2})));
    let mut waits = waits.await.unwrap().into_inner();
    let refused = waits.next().await.unwrap().unwrap_err();
    assert_eq!(refused.get_details_error_info().unwrap().reason, "BUSY");
    let told = refused.get_details_retry_info().unwrap().retry_delay;
    assert!(told.is_some_and(|told| !told.is_zero()), "{told:?}");
}

#[sqlx::test]
async fn only_the_edge_speaks_for_an_app_and_only_for_one_in_good_standing(pool: PgPool) {
    let world = World::start(pool).await;
    let served = Served::around(world, |standing| standing.suspended = true).await;
    let mut edge = ChatServiceClient::new(served.channel("edge"));
    let refused = edge
        .create_chat_completion(served.chat(json!({"tokens": 1})))
        .await
        .unwrap_err();
    assert_eq!(
        refused.get_details_error_info().unwrap().reason,
        "ACCOUNT_SUSPENDED"
    );
    let mut billing = ChatServiceClient::new(served.channel("billing"));
    let forged = billing
        .create_chat_completion(served.chat(json!({"tokens": 1})))
        .await
        .unwrap_err();
    assert_eq!(
        forged.get_details_error_info().unwrap().reason,
        "PRINCIPAL_FORGED"
    );
    assert_eq!(served.world.engine.calls(), 0);
}

#[sqlx::test]
async fn refusals_have_their_reason_and_the_field(pool: PgPool) {
    let served = Served::around(World::start(pool).await, |_| {}).await;
    let mut client = ChatServiceClient::new(served.channel("edge"));
    let body = br#"{"model":"test","messages":[]}"#.to_vec();
    let request = CreateChatCompletionRequest {
        body: body.into(),
        ..Default::default()
    };
    let status = client
        .create_chat_completion(served.of_app(request))
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    let details = status.get_error_details();
    assert_eq!(details.error_info().unwrap().reason, "INVALID_BODY");
    assert_eq!(
        details.bad_request().unwrap().field_violations[0].field,
        "body.messages"
    );
}

#[sqlx::test]
async fn the_catalogue_and_the_call_log_are_shown(pool: PgPool) {
    let served = Served::around(World::start(pool).await, |_| {}).await;
    let mut models = ModelServiceClient::new(served.channel("edge"));
    let listed = models
        .list_models(served.of_app(ListModelsRequest {}))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(listed.models[0].name, "test");
    let account = served.world.caller.account_id;
    let got = served
        .world
        .call(&chat(true, json!({"tokens": 2})))
        .await
        .unwrap();
    let mut calls = CallServiceClient::new(served.channel("edge"));
    let ask = |account| {
        served.of_account(
            GetCallRequest {
                call_id: got.call_id.clone(),
            },
            account,
        )
    };
    let call = calls
        .get_call(ask(account))
        .await
        .unwrap()
        .into_inner()
        .call
        .unwrap();
    assert_eq!((call.output_tokens, call.outcome), (2, 1));
    let another = calls.get_call(ask(id())).await.unwrap_err();
    assert_eq!(another.code(), Code::NotFound);
}

#[sqlx::test]
async fn a_client_that_hangs_up_stops_the_engine(pool: PgPool) {
    let served = Served::around(World::start(pool.clone()).await, |_| {}).await;
    let mut client = ChatServiceClient::new(served.channel("edge"));
    let script = json!({"tokens": 1000, "delay_ms": 20});
    let mut frames = client
        .create_chat_completion(served.chat(script))
        .await
        .unwrap()
        .into_inner();
    let call = frames.next().await.unwrap().unwrap().call_id;
    frames.next().await.unwrap().unwrap();
    drop(frames);
    let engine = &served.world.engine;
    wait_for("the engine to notice", async || {
        engine.seen(&call).unwrap().cancelled
    })
    .await;
    let row = rows::ended(&pool, &call).await;
    assert!(
        row.outcome == 2 && (2..8).contains(&row.output_tokens),
        "{row:?}"
    );
}

/// Waits until a number stands still for a second; answers it.
async fn stands_still(number: impl Fn() -> u64) -> u64 {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let before = number();
        sleep(Duration::from_secs(1)).await;
        if number() == before {
            return before;
        }
        assert!(Instant::now() < deadline, "{before} and more");
    }
}

/// Of what nobody takes there are eight frames and one in hand, what is on its way to the client's window of
/// 64 KiB, and what is read ahead of the engine's connection; the rest, some MiB, the kernel keeps. The
/// answer is much longer than all of it.
#[sqlx::test]
async fn an_engine_waits_for_a_client_that_takes_nothing_and_goes_on_when_it_does(pool: PgPool) {
    const TOKENS: u64 = 1024;
    const TOKEN_BYTES: usize = 64 << 10;
    let served = Served::around(World::start(pool).await, |_| {}).await;
    let mut client = ChatServiceClient::new(served.channel("edge"));
    let script = json!({"tokens": TOKENS, "padding": TOKEN_BYTES});
    let answer = client.create_chat_completion(served.chat(script)).await;
    let mut frames = answer.unwrap().into_inner();
    let engine = &served.world.engine;
    let sent = stands_still(|| engine.only().sent).await;
    assert!(sent <= TOKENS / 2, "{sent} of {TOKENS} were sent to nobody");
    let mut taken = 0;
    while let Some(frame) = frames.next().await {
        let Some(Frame::Data(data)) = frame.unwrap().frame else {
            panic!("the answer broke off after {taken}")
        };
        taken += u64::from(data.len() > TOKEN_BYTES);
    }
    assert_eq!((taken, engine.only().sent), (TOKENS, TOKENS));
}
