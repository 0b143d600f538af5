//! A price list from its proposal to the bill of a call.

use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};
use integration_tests::journey::{Journey, Operator, nanos};
use serde_json::{Value, json};

use crate::world::{customer, reason, request_id, scripted, stack};

const SERVICE: &str = "wanwu.billing.v1.PriceService";

/// The list in force.
async fn list_in_force(operator: &Operator) -> Value {
    let method = format!("{SERVICE}/GetPriceList");
    let answer = operator.call(&method, json!({})).await.unwrap();
    answer["priceList"].clone()
}

fn number(value: &Value) -> i64 {
    let text = value.as_str().map(str::to_owned);
    text.unwrap_or_else(|| value.to_string()).parse().unwrap()
}

/// Two people of finance publish prices of their own for cached and reasoning tokens; everything else
/// stays, for the calls of other tests.
async fn publish(cached: i64, reasoning: i64) -> i64 {
    let stack = stack();
    let one = Operator::with_roles(&stack, &["finance"]).await.unwrap();
    let other = Operator::with_roles(&stack, &["finance"]).await.unwrap();
    let before = list_in_force(&one).await;
    let mut prices = before["prices"].as_array().unwrap().clone();
    let parts = ["UNIT_CACHED_INPUT_TOKEN", "UNIT_REASONING_TOKEN"];
    prices.retain(|price| !parts.iter().any(|part| price["unit"] == *part));
    for (unit, price) in parts.iter().zip([cached, reasoning]) {
        prices.push(json!({"model": "scripted", "unit": unit, "nanosPerUnit": price.to_string()}));
    }
    let latest: DateTime<Utc> = before["effectiveTime"].as_str().unwrap().parse().unwrap();
    let start = (Utc::now() + Duration::from_secs(5)).max(latest + Duration::from_secs(1));
    let proposal = json!({
        "requestId": request_id(),
        "effectiveTime": start.to_rfc3339_opts(SecondsFormat::Secs, true),
        "prices": prices,
    });
    let method = |name: &str| format!("{SERVICE}/{name}");
    let proposed = one
        .call(&method("ProposePriceList"), proposal)
        .await
        .unwrap();
    let id = json!({"proposalId": proposed["proposal"]["proposalId"]});
    let alone = one.call(&method("PublishPriceList"), id.clone()).await;
    let (status, why) = reason(alone);
    assert_eq!((status, why.as_str()), (403, "SAME_OPERATOR"));
    let published = other.call(&method("PublishPriceList"), id).await.unwrap();
    let version = number(&published["proposal"]["priceList"]["version"]);
    while number(&list_in_force(&one).await["version"]) < version {
        assert!(
            Utc::now() < start + Duration::from_secs(30),
            "it does not come into force"
        );
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    version
}

async fn quote(journey: &Journey, counts: &[(&str, i64)]) -> Value {
    let counts: Vec<Value> = counts
        .iter()
        .map(|(unit, count)| json!({"unit": unit, "count": count.to_string()}))
        .collect();
    let body = json!({"model": "scripted", "counts": counts});
    journey
        .call(&format!("{SERVICE}/QuoteCall"), body)
        .await
        .unwrap()
}

#[tokio::test]
async fn a_call_with_cached_and_reasoning_tokens_costs_what_was_published_and_quoted() {
    const CACHED: i64 = 70;
    const REASONING: i64 = 2_600;
    let version = publish(CACHED, REASONING).await;
    let journey = customer().await;
    let (input, output) = journey.price("scripted").await.unwrap();
    for stream in [true, false] {
        let script = scripted(json!({"tokens": 37, "cached": 1, "reasoning": 20}));
        let answer = match stream {
            true => journey.chat_stream(script, |_| ()).await.unwrap(),
            false => journey.chat(script).await.unwrap(),
        };
        let bill = journey.bill(&answer.call_id).await.unwrap();
        assert_eq!(number(&bill["priceVersion"]), version);
        assert_eq!(bill["usageSource"], "engine");
        let prompt = number(&bill["inputTokens"]);
        let expected = CACHED + (prompt - 1) * input + 20 * REASONING + 17 * output;
        assert_eq!(nanos(&bill["amount"]), expected, "to the last unit");
        let lines = bill["lines"].as_array().unwrap();
        let sum: i64 = lines.iter().map(|line| number(&line["amountNanos"])).sum();
        assert_eq!((lines.len(), sum), (4, expected));

        let counts = [
            ("UNIT_INPUT_TOKEN", prompt),
            ("UNIT_CACHED_INPUT_TOKEN", 1),
            ("UNIT_OUTPUT_TOKEN", 37),
            ("UNIT_REASONING_TOKEN", 20),
        ];
        let quoted = quote(&journey, &counts).await;
        assert_eq!(quoted["amount"], bill["amount"]);
        assert_eq!(quoted["lines"], bill["lines"]);
        let statement = journey.statement().await.unwrap();
        assert_eq!(statement[0]["call"]["lines"], bill["lines"]);
    }
}
