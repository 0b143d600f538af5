//! Money through the whole platform.

use std::time::Duration;

use integration_tests::journey::{Journey, ledger_sum, nanos};
use serde_json::json;

use crate::world::{call, customer, reason, scripted, stack, truth, until};

/// Waits until nothing is set aside for a router any more; answers what is free to spend.
async fn all_back(journey: &Journey) -> i64 {
    until("what is set aside", async || {
        let (available, leased) = journey.balance().await.unwrap();
        (leased == 0).then_some(available)
    })
    .await
}

#[tokio::test]
async fn a_call_costs_its_units_times_their_prices_to_the_last_unit() {
    let stack = stack();
    let journey = customer().await;
    let answer = journey
        .chat_stream(scripted(json!({"tokens": 37})), |_| ())
        .await
        .unwrap();
    assert!(answer.done);
    let bill = journey.bill(&answer.call_id).await.unwrap();
    let list = journey.price_list().await.unwrap();
    assert_eq!(
        bill["priceVersion"], list["version"],
        "a charge names its price list"
    );
    let (input, output) = journey.price("scripted").await.unwrap();
    let sent: i64 = answer.usage["completion_tokens"].as_i64().unwrap();
    let read: i64 = answer.usage["prompt_tokens"].as_i64().unwrap();
    assert_eq!((sent, read), (37, 2));
    assert_eq!(nanos(&bill["amount"]), read * input + sent * output);
    let statement = journey.statement().await.unwrap();
    assert_eq!(statement.len(), 2, "the top-up and the call");
    let sum: i64 = statement.iter().map(|line| nanos(&line["amount"])).sum();
    // What is set aside for the router comes back when it is idle.
    assert_eq!(all_back(&journey).await, sum);
    assert_eq!(ledger_sum(&stack).await.unwrap().0, "0");
}

#[tokio::test]
async fn without_credit_a_call_is_refused_and_costs_nothing() {
    let stack = stack();
    let mut journey = Journey::new(&stack);
    journey.register().await.unwrap();
    journey.verify_real_name().await.unwrap();
    journey.app("x").await.unwrap();
    journey.key().await.unwrap();
    let (status, why) = reason(call(&journey).await);
    assert_eq!((status, why.as_str()), (429, "insufficient_quota"));
    assert!(journey.statement().await.unwrap().is_empty());
}

#[tokio::test]
async fn fifty_calls_at_once_never_spend_more_than_there_is() {
    let stack = stack();
    // One fen pays for about seven of these.
    let journey = Journey::ready_to_call(&stack, 1).await.unwrap();
    let mut body = scripted(json!({"tokens": 1000}));
    body["max_tokens"] = json!(1000);
    let calls = (0..50).map(|_| journey.chat_stream(body.clone(), |_| ()));
    let outcomes = futures::future::join_all(calls).await;
    let answered = outcomes
        .iter()
        .flatten()
        .filter(|answer| answer.done)
        .count();
    assert!((1..=7).contains(&answered), "{answered} were answered");
    for error in outcomes.into_iter().filter_map(Result::err) {
        assert_eq!(error.reason(), "insufficient_quota", "{error}");
    }
    let available = all_back(&journey).await;
    let spent: i64 = journey
        .statement()
        .await
        .unwrap()
        .iter()
        .map(|line| nanos(&line["amount"]))
        .sum();
    assert_eq!(available, spent);
    assert!(available >= 0);
    let (_, output) = journey.price("scripted").await.unwrap();
    assert_eq!(
        10_000_000 - available,
        answered as i64 * (1000 * output + 2 * 700)
    );
}

#[tokio::test]
async fn a_lost_notice_is_found_by_a_query_and_fifteen_notices_credit_once() {
    let stack = stack();
    let mut journey = Journey::new(&stack);
    journey.register().await.unwrap();
    journey.verify_real_name().await.unwrap();
    let order = journey.order(500).await.unwrap();
    faults(
        &journey,
        json!([{"operation": "callback", "kind": "lose", "times": 1}]),
    )
    .await;
    journey.simulated().pay(&order).await.unwrap();
    journey.wait_paid(&order).await.unwrap();
    assert_eq!(journey.balance().await.unwrap().0, 5_000_000_000);

    let order = journey.order(300).await.unwrap();
    faults(
        &journey,
        json!([{"operation": "callback", "kind": "repeat", "count": 15, "times": 1}]),
    )
    .await;
    journey.simulated().pay(&order).await.unwrap();
    journey.wait_paid(&order).await.unwrap();
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(journey.balance().await.unwrap().0, 8_000_000_000);
    faults(&journey, json!([])).await;
}

async fn faults(journey: &Journey, list: serde_json::Value) {
    let base = stack().simulator("wechat-pay").to_owned();
    let answer = journey
        .api()
        .http()
        .post(format!("{base}/_faults"))
        .json(&list)
        .send()
        .await;
    assert!(answer.unwrap().status().is_success());
}

#[tokio::test]
async fn the_label_names_the_producer_and_the_call_at_both_ends() {
    let journey = customer().await;
    let mut labels = Vec::new();
    let answer = journey
        .chat_stream(scripted(json!({"tokens": 5})), |chunk| {
            if let integration_tests::journey::Chunk::Whole(chunk) = chunk
                && !chunk["aigc"].is_null()
            {
                labels.push(chunk["aigc"].clone());
            }
        })
        .await
        .unwrap();
    assert_eq!(labels.len(), 2, "the first chunk and the last");
    for label in labels {
        assert_eq!(label["Label"], "1");
        assert_eq!(label["ProduceID"], answer.call_id.as_str());
        assert_eq!(label["ContentProducer"].as_str().unwrap().len(), 27);
        let keys: Vec<_> = label.as_object().unwrap().keys().cloned().collect();
        let expected = [
            "Label",
            "ContentProducer",
            "ProduceID",
            "ReservedCode1",
            "ContentPropagator",
            "PropagateID",
            "ReservedCode2",
        ];
        assert_eq!(keys, expected);
    }
    let whole = call(&journey).await.unwrap();
    assert_eq!(whole.label["ProduceID"], whole.call_id.as_str());
}

#[tokio::test]
async fn a_client_that_goes_away_stops_the_engine_and_pays_for_what_it_got() {
    let journey = customer().await;
    let mut body = scripted(json!({"tokens": 2000, "delay_ms": 10}));
    body["stream"] = json!(true);
    let response = journey
        .api()
        .http()
        .post(format!("{}/v1/chat/completions", journey.api().base()))
        .bearer_auth(journey.secret())
        .json(&body)
        .send()
        .await
        .unwrap();
    let mut bytes = response.bytes_stream();
    for _ in 0..20 {
        futures::StreamExt::next(&mut bytes).await.unwrap().unwrap();
    }
    drop(bytes);
    let call = until("the end of the call", async || {
        let method = "wanwu.inference.v1.CallService/ListCalls";
        let calls = journey.call(method, json!({})).await.unwrap();
        let call = calls["calls"][0].clone();
        (call["outcome"] == "CALL_OUTCOME_CLIENT_GONE").then_some(call)
    })
    .await;
    let id = call["callId"].as_str().unwrap();
    let truth = until("the engine to stop", async || {
        let truth = truth(id).await;
        (truth["ending"] == "cancelled").then_some(truth)
    })
    .await;
    let sent = truth["tokens_sent"].as_i64().unwrap();
    assert!(sent < 1000, "the engine went on to {sent}");
    let bill = journey.bill(id).await.unwrap();
    let billed: i64 = bill["outputTokens"].as_str().unwrap().parse().unwrap();
    assert!(billed > 0 && billed <= sent, "{billed} of {sent}");
}
