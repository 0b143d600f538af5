use std::sync::atomic::Ordering;

use chrono::Duration;
use lapin::BasicProperties;
use sqlx::PgPool;
use tonic::{Code, Request};
use uuid::Uuid;
use wanwu_events::DeadLetters;
use wanwu_proto::operations::v1::{
    DeadLetter, ListDeadLettersRequest, ListDeadLettersResponse, ReplayDeadLetterRequest,
    dead_letter_service_server::DeadLetterService,
};
use wanwu_testkit::wait_for;

use crate::bench::{Bench, Credit, Kind, PATIENCE, QUEUE};

#[sqlx::test(migrations = false)]
async fn what_fails_five_times_is_a_dead_letter_and_a_replay_applies_it_once(pool: PgPool) {
    let mut bench = Bench::new(pool).await;
    let credit = Credit::failing(i64::MAX, Kind::Retry);
    let service = bench.consumers(&credit).dead_letters();
    bench.relay();
    bench.consume(&credit);
    bench.tell(0, 1).await;
    wait_for_dead(&bench, 1).await;
    assert_eq!(credit.asked(), 5);
    assert_eq!(bench.count("select count(*) from inbox_retries").await, 0);

    let letter = list(&service, 0, "").await.dead_letters.remove(0);
    assert_eq!((letter.attempts, letter.error.as_str()), (5, "not today"));
    assert_eq!(letter.queue, QUEUE);
    assert_eq!(letter.r#type, "wanwu.inference.v1.UsageRecorded");

    let refused = replay(&service, &letter).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert_eq!(
        (bench.effects().await, bench.count(DEAD).await),
        ((0, 0), 1)
    );

    credit.failures.store(0, Ordering::SeqCst);
    let (one, other) = tokio::join!(replay(&service, &letter), replay(&service, &letter));
    let applied = [&one, &other]
        .into_iter()
        .filter(|result| matches!(result, Ok(true)))
        .count();
    assert_eq!(applied, 1, "{one:?} {other:?}");
    assert_eq!(
        replay(&service, &letter).await.unwrap_err().code(),
        Code::NotFound
    );
    bench.wait_for_effects(1).await;

    // The broker delivers it once more.
    let again = "update outbox set published_at = null, leased_until = null";
    sqlx::query(again).execute(&bench.pool).await.unwrap();
    wait_for("the duplicate to leave", PATIENCE, || async {
        bench.pending().await == 0
    })
    .await;
    bench.wait_for_effects(1).await;
    bench.end().await;
}

#[sqlx::test(migrations = false)]
async fn what_will_never_work_is_dead_at_once(pool: PgPool) {
    let mut bench = Bench::new(pool).await;
    let credit = Credit::failing(i64::MAX, Kind::Reject);
    let service = bench.consumers(&credit).dead_letters();
    bench.relay();
    bench.consume(&credit);
    bench.tell(0, 25).await;
    wait_for_dead(&bench, 25).await;
    assert_eq!(credit.asked(), 25);
    let first = list(&service, 20, "").await;
    let second = list(&service, 20, &first.next_page_token).await;
    assert_eq!(
        (first.dead_letters.len(), second.dead_letters.len()),
        (20, 5)
    );
    assert_eq!(second.next_page_token, "");
    let wrong = Request::new(ListDeadLettersRequest {
        page_size: -1,
        page_token: String::new(),
    });
    let wrong = service.list_dead_letters(wrong).await.unwrap_err();
    assert_eq!(wrong.code(), Code::InvalidArgument);
    bench.end().await;
}

/// What no relay of ours put into the queue is kept, and does not go round for ever.
#[sqlx::test(migrations = false)]
async fn a_strangers_message_is_a_dead_letter(pool: PgPool) {
    let mut bench = Bench::new(pool).await;
    let credit = Credit::default();
    bench.relay();
    bench.consume(&credit);
    bench.tell(0, 1).await;
    bench.wait_for_effects(1).await;
    let foreign = BasicProperties::default().with_type("somebody.Else".into());
    for properties in [BasicProperties::default(), foreign] {
        put(&bench, b"\xff\xff\xff not protobuf", properties).await;
    }
    put(&bench, b"\xff", BasicProperties::default()).await;
    wait_for_dead(&bench, 2).await;
    bench.tell(1, 1).await;
    bench.wait_for_effects(2).await;
    assert_eq!(
        bench.count(DEAD).await,
        2,
        "the same content has the same id"
    );
    bench.end().await;
}

#[sqlx::test(migrations = false)]
async fn only_dead_letters_can_be_replayed(pool: PgPool) {
    let bench = Bench::new(pool).await;
    let service = bench.consumers(&Credit::default()).dead_letters();
    for event_id in [
        Uuid::from_u128(1).to_string(),
        "no uuid".to_owned(),
        String::new(),
    ] {
        let letter = DeadLetter {
            event_id,
            queue: QUEUE.to_owned(),
            ..DeadLetter::default()
        };
        assert_eq!(
            replay(&service, &letter).await.unwrap_err().code(),
            Code::NotFound
        );
    }
}

const DEAD: &str = "select count(*) from dead_letters";

/// Lets the time pass until so many events are given up.
async fn wait_for_dead(bench: &Bench, dead: i64) {
    wait_for("the dead letters", PATIENCE, || async {
        bench.clock.advance(Duration::seconds(1));
        bench.count(DEAD).await == dead
    })
    .await;
}

async fn list(service: &DeadLetters, size: i32, token: &str) -> ListDeadLettersResponse {
    let request = ListDeadLettersRequest {
        page_size: size,
        page_token: token.to_owned(),
    };
    service
        .list_dead_letters(Request::new(request))
        .await
        .unwrap()
        .into_inner()
}

async fn replay(service: &DeadLetters, letter: &DeadLetter) -> Result<bool, tonic::Status> {
    let request = ReplayDeadLetterRequest {
        event_id: letter.event_id.clone(),
        queue: letter.queue.clone(),
    };
    let answer = service.replay_dead_letter(Request::new(request)).await?;
    Ok(answer.into_inner().applied)
}

async fn put(bench: &Bench, payload: &[u8], properties: BasicProperties) {
    use secrecy::ExposeSecret;
    let url = bench
        .broker
        .url
        .as_ref()
        .expect("the test broker has a URL");
    let options = lapin::ConnectionProperties::default();
    let connection = lapin::Connection::connect(url.expose_secret(), options)
        .await
        .unwrap();
    let channel = connection.create_channel().await.unwrap();
    let name = format!("{}{QUEUE}", bench.broker.queue_prefix);
    channel
        .basic_publish(
            "".into(),
            name.into(),
            Default::default(),
            payload,
            properties,
        )
        .await
        .unwrap();
    connection.close(200, "done".into()).await.unwrap();
}
