//! Codes by SMS: what many at once can and cannot do.

use std::collections::HashSet;

use futures::future::join_all;
use integration_tests::journey::Journey;
use serde_json::{Value, json};

use crate::world::{reason, stack};

const REGISTER: &str = "wanwu.identity.v1.SessionService/Register";
const SEND: &str = "wanwu.identity.v1.SessionService/SendVerificationCode";

async fn register(journey: &Journey, code: &str, current: &[String]) -> Result<Value, String> {
    let body = json!({
        "phone": journey.person.phone,
        "code": code,
        "acceptedAgreementVersionIds": current,
    });
    let outcome = journey.api().call(REGISTER, None, body).await;
    outcome.map_err(|error| error.reason().to_owned())
}

async fn current(journey: &Journey) -> Vec<String> {
    let versions = journey.current_agreements().await.unwrap();
    versions
        .iter()
        .map(|v| v["versionId"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn fifty_wrong_codes_at_once_leave_the_right_one_useless() {
    let journey = Journey::new(&stack());
    let right = journey.code().await.unwrap();
    let current = current(&journey).await;
    let wrong =
        (0..50).map(|n| format!("{:06}", (right.parse::<u32>().unwrap() + 1 + n) % 1_000_000));
    let guesses = join_all(wrong.map(|code| {
        let (journey, current) = (journey.clone(), current.clone());
        async move { register(&journey, &code, &current).await }
    }));
    for outcome in guesses.await {
        assert_eq!(outcome.unwrap_err(), "CODE_INVALID");
    }
    // Five were compared; the sixth, though right, is not.
    assert_eq!(
        register(&journey, &right, &current).await.unwrap_err(),
        "CODE_INVALID"
    );
}

#[tokio::test]
async fn fifty_right_codes_at_once_make_one_account() {
    let journey = Journey::new(&stack());
    let code = journey.code().await.unwrap();
    let current = current(&journey).await;
    let outcomes = join_all((0..50).map(|_| register(&journey, &code, &current))).await;
    let accounts: HashSet<_> = outcomes
        .iter()
        .flatten()
        .map(|answer| answer["accountId"].to_string())
        .collect();
    assert_eq!(accounts.len(), 1);
    assert_eq!(outcomes.iter().flatten().count(), 1);
}

#[tokio::test]
async fn a_number_gets_one_code_a_minute_whoever_asks() {
    let journey = Journey::new(&stack());
    let ask = || {
        journey
            .api()
            .call(SEND, None, json!({"phone": journey.person.phone}))
    };
    let outcomes = join_all((0..10).map(|_| ask())).await;
    assert_eq!(outcomes.iter().flatten().count(), 1);
    let refused = outcomes.into_iter().find_map(Result::err).unwrap();
    assert_eq!((refused.status(), refused.reason()), (429, "RATE_LIMITED"));
    let messages = journey
        .simulated()
        .messages(&journey.person.phone)
        .await
        .unwrap();
    assert_eq!(messages.len(), 1);
}

#[tokio::test]
async fn known_and_unknown_numbers_get_the_same_bytes() {
    let stack = stack();
    let mut known = Journey::new(&stack);
    known.register().await.unwrap();
    let unknown = Journey::new(&stack);
    let unknown_answer = {
        let body = json!({"phone": unknown.person.phone});
        unknown
            .api()
            .call(SEND, None, body)
            .await
            .unwrap()
            .to_string()
    };
    // The known number was just sent a code; its refusal is that of an unknown one, too.
    let again = |journey: &Journey| {
        let (api, phone) = (journey.api().clone(), journey.person.phone.clone());
        async move { reason(api.call(SEND, None, json!({"phone": phone})).await) }
    };
    assert_eq!(again(&known).await, again(&unknown).await);
    assert_eq!(unknown_answer, json!({"expiresInSeconds": 300}).to_string());
}

#[tokio::test]
async fn only_mainland_numbers_are_taken() {
    let journey = Journey::new(&stack());
    for phone in [
        "",
        "13800138",
        "13490000000",
        "14400000000",
        "85291234567",
        "+15555550100",
    ] {
        let outcome = journey
            .api()
            .call(SEND, None, json!({"phone": phone}))
            .await;
        assert_eq!(
            reason(outcome),
            (400, "INVALID_ARGUMENT".to_owned()),
            "{phone}"
        );
    }
}
