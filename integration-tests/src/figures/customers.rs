//! What several figures need: customers, their calls, and what the engine and billing say of them.

use std::{collections::BTreeMap, time::Duration};

use futures::{StreamExt, TryStreamExt, stream};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::{
    journey::{Journey, nanos, prompt},
    stack::Stack,
};

/// How long a customer who begins is told to try again.
const BUSY: Duration = Duration::from_secs(30);

/// So many customers begin at the same time.
const AT_ONCE: usize = 4;

/// What billing says of one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bill {
    pub input: u64,
    pub output: u64,
    pub nanos: i64,
}

/// What the engine says of one call.
#[derive(Clone, Debug)]
pub(super) struct Sent {
    pub prompt: u64,
    pub tokens: u64,
}

/// A call of the scripted engine.
pub(super) fn scripted(script: Value) -> Value {
    let mut body = prompt("scripted", "你好");
    body["safety_identifier"] = script.to_string().into();
    body["wanwu_script"] = script;
    body
}

/// Tokens of which none could begin a term of the lexicon: the screen holds none of them back.
pub(super) fn passing(tokens: usize) -> Vec<String> {
    let text = "明月几时有，把酒问青天。不知天上宫阙，今夕是何年。";
    text.chars()
        .cycle()
        .take(tokens)
        .map(String::from)
        .collect()
}

/// Customers with credit, apps and keys.
pub(super) async fn customers(
    stack: &Stack,
    count: usize,
    fen: i64,
) -> anyhow::Result<Vec<Journey>> {
    stream::iter(0..count)
        .map(|_| one(stack, fen))
        .buffered(AT_ONCE)
        .try_collect()
        .await
}

/// A machine that does much else may be told for a while to try again.
async fn one(stack: &Stack, fen: i64) -> anyhow::Result<Journey> {
    let begin = Instant::now();
    loop {
        match Journey::ready_to_call(stack, fen).await {
            Err(error) if error.status() == 503 && begin.elapsed() < BUSY => {
                sleep(Duration::from_secs(1)).await;
            }
            ready => return Ok(ready?),
        }
    }
}

fn number(value: &Value) -> u64 {
    value
        .as_str()
        .and_then(|text| text.parse().ok())
        .or(value.as_u64())
        .unwrap_or_default()
}

/// Every bill of a customer by call.
pub(super) async fn bills(journey: &Journey) -> anyhow::Result<BTreeMap<String, Vec<Bill>>> {
    let method = "wanwu.billing.v1.BalanceService/ListStatementLines";
    let mut bills: BTreeMap<String, Vec<Bill>> = BTreeMap::new();
    for line in pages(journey, method, "lines").await? {
        if let Some(id) = line["call"]["callId"].as_str() {
            bills.entry(id.to_owned()).or_default().push(Bill {
                input: number(&line["call"]["inputTokens"]),
                output: number(&line["call"]["outputTokens"]),
                nanos: nanos(&line["call"]["amount"]),
            });
        }
    }
    Ok(bills)
}

/// How each call of a customer ended, by the call log.
pub(super) async fn outcomes(journey: &Journey) -> anyhow::Result<BTreeMap<String, String>> {
    let calls = pages(journey, "wanwu.inference.v1.CallService/ListCalls", "calls").await?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    Ok(calls
        .iter()
        .map(|call| (text(&call["callId"]), text(&call["outcome"])))
        .collect())
}

async fn pages(journey: &Journey, method: &str, field: &str) -> anyhow::Result<Vec<Value>> {
    let (mut all, mut token) = (Vec::new(), String::new());
    loop {
        let body = json!({"pageSize": 100, "pageToken": token});
        let page = journey.call(method, body).await?;
        all.extend(page[field].as_array().cloned().unwrap_or_default());
        token = page["nextPageToken"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        if token.is_empty() {
            return Ok(all);
        }
    }
}

/// What an engine wrote down: of all calls, or with `?brief=true` only what it counted.
pub(super) async fn truth_of(
    http: &reqwest::Client,
    engine: &str,
    asked: &str,
) -> anyhow::Result<Value> {
    let address = format!("{engine}/_truth{asked}");
    Ok(http.get(address).send().await?.json().await?)
}

/// The engine's own record, by call.
pub(super) async fn engine_truth(
    stack: &Stack,
    journey: &Journey,
) -> anyhow::Result<BTreeMap<String, Sent>> {
    let truth = truth_of(journey.api().http(), stack.simulator("engine"), "").await?;
    let calls = truth["calls"].as_object().cloned().unwrap_or_default();
    Ok(calls
        .into_iter()
        .map(|(id, call)| {
            let sent = Sent {
                prompt: number(&call["prompt_tokens"]),
                tokens: number(&call["tokens_sent"]),
            };
            (id, sent)
        })
        .collect())
}

/// Waits until every call of the customers is settled and nothing is set aside any more.
pub(super) async fn settled(customers: &[Journey], limit: Duration) -> anyhow::Result<Duration> {
    let begin = Instant::now();
    loop {
        let mut open = String::new();
        for journey in customers {
            let outcomes = match outcomes(journey).await {
                Ok(outcomes) => outcomes,
                Err(error) => {
                    open = error.to_string();
                    break;
                }
            };
            let bills = bills(journey).await?;
            let running = outcomes
                .values()
                .filter(|o| *o == "CALL_OUTCOME_UNSPECIFIED")
                .count();
            let unpaid = outcomes
                .keys()
                .filter(|id| !bills.contains_key(*id))
                .count();
            let (_, leased) = journey.balance().await?;
            if running + unpaid > 0 || leased != 0 {
                open = format!("{running} run, {unpaid} are not billed, {leased} is set aside");
                break;
            }
        }
        if open.is_empty() {
            return Ok(begin.elapsed());
        }
        anyhow::ensure!(
            begin.elapsed() < limit,
            "not settled within {limit:?}: {open}"
        );
        sleep(Duration::from_millis(100)).await;
    }
}
