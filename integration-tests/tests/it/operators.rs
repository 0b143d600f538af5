//! What operators do to a running service.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::STANDARD};
use integration_tests::journey::{ApiError, Journey, Operator};
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};
use tokio::time::{Instant, sleep};

use crate::world::{customer, reason, stack};

const PATIENCE: Duration = Duration::from_secs(30);
const LIST: &str = "wanwu.operations.v1.DeadLetterService/ListDeadLetters";
const REPLAY: &str = "wanwu.operations.v1.DeadLetterService/ReplayDeadLetter";

/// The dead letter of identity that names an account, on whichever page it is.
async fn dead_letter(operator: &Operator, account_id: &str) -> Option<Value> {
    let mut token = String::new();
    loop {
        let page = json!({"pageSize": 100, "pageToken": token});
        let page = operator.call_service("identity", LIST, page).await.unwrap();
        for letter in page["deadLetters"].as_array().into_iter().flatten() {
            let payload = letter["payload"].as_str().unwrap_or_default();
            let payload = STANDARD.decode(payload).unwrap();
            if String::from_utf8_lossy(&payload).contains(account_id) {
                return Some(letter.clone());
            }
        }
        page["nextPageToken"]
            .as_str()
            .unwrap_or_default()
            .clone_into(&mut token);
        if token.is_empty() {
            return None;
        }
    }
}

/// How many messages about payments a person has got.
async fn notices(journey: &Journey) -> usize {
    let messages = journey.simulated().messages(&journey.person.phone).await;
    let messages = messages.unwrap();
    let paid = |message: &&Value| message["template_code"] == "SMS_ORDER_PAID";
    messages.iter().filter(paid).count()
}

async fn wait_for_notices(journey: &Journey, count: usize) {
    let begin = Instant::now();
    while notices(journey).await < count {
        assert!(begin.elapsed() < PATIENCE, "not told of payment {count}");
        sleep(Duration::from_millis(50)).await;
    }
}

async fn replay(operator: &Operator, letter: &Value) -> Result<Value, ApiError> {
    let named = json!({"eventId": letter["eventId"], "queue": letter["queue"]});
    operator.call_service("identity", REPLAY, named).await
}

#[tokio::test]
async fn an_operator_finds_what_a_service_could_not_apply_and_replays_it_once() {
    let stack = stack();
    let journey = customer().await;
    let account_id = journey.session.as_ref().unwrap().account_id.clone();
    // The payment that made the customer ready.
    wait_for_notices(&journey, 1).await;

    // Identity does not know how to reach the person for a while.
    let mut identity = PgConnection::connect(&stack.database_url("identity"))
        .await
        .unwrap();
    let aside: (Vec<u8>, String, Vec<u8>) = sqlx::query_as(
        "delete from phones where account_id = $1::uuid returning sealed, index_key, index_mac",
    )
    .bind(&account_id)
    .fetch_one(&mut identity)
    .await
    .unwrap();
    journey.top_up(1000).await.unwrap();
    let support = Operator::with_roles(&stack, &["support"]).await.unwrap();
    let begin = Instant::now();
    let letter = loop {
        if let Some(letter) = dead_letter(&support, &account_id).await {
            break letter;
        }
        assert!(begin.elapsed() < PATIENCE, "no dead letter");
        sleep(Duration::from_millis(100)).await;
    };
    assert_eq!(letter["type"], "wanwu.identity.v1.NotificationRequested");

    // Who may look may not replay, a customer may neither, and a service must be named.
    let auditor = Operator::with_roles(&stack, &["auditor"]).await.unwrap();
    assert!(dead_letter(&auditor, &account_id).await.is_some());
    assert_eq!(reason(replay(&auditor, &letter).await).0, 403);
    let curious = journey.api();
    let curious = curious.call_service("identity", LIST, journey.token(), json!({}));
    assert_eq!(reason(curious.await).0, 403);
    let nameless = support.call(LIST, json!({})).await;
    assert_eq!(reason(nameless).0, 400);
    let elsewhere = support.call_service("nowhere", LIST, json!({})).await;
    assert!(elsewhere.is_err());

    // Nothing changed yet: it still cannot be applied, and stays.
    let early = replay(&support, &letter).await;
    assert_eq!(reason(early).1, "EVENT_NOT_APPLIED");
    assert_eq!(notices(&journey).await, 1);

    sqlx::query(
        "insert into phones (account_id, sealed, index_key, index_mac)
         values ($1::uuid, $2, $3, $4)",
    )
    .bind(&account_id)
    .bind(aside.0)
    .bind(aside.1)
    .bind(aside.2)
    .execute(&mut identity)
    .await
    .unwrap();
    let replayed = replay(&support, &letter).await.unwrap();
    assert_eq!(replayed["applied"], true);
    wait_for_notices(&journey, 2).await;
    assert!(dead_letter(&support, &account_id).await.is_none());
    let again = replay(&support, &letter).await;
    assert_eq!(reason(again), (404, "NOT_FOUND".to_owned()));
    sleep(Duration::from_secs(1)).await;
    assert_eq!(notices(&journey).await, 2);
}
