use std::{
    io::Write,
    time::{Duration, Instant},
};

use anyhow::Context;
use serde_json::Value;

use super::{
    Answer, Chunk, Journey, cosine, ledger_sum, nanos, next_things, prompt, wait_for_trace,
};
use crate::{
    stack::{Model, Stack},
    trace::tree,
};

const QUESTION: &str = "请用两三句话介绍一下杭州的西湖。";
const TOP_UP_FEN: i64 = 1000;
const MAX_TOKENS: u64 = 120;
/// A sentence, the same in another language, and another in the language of the first: nearer to it in
/// everything but what it says.
const SENTENCE: &str = "今天天气很好，我们去公园散步吧。";
const SAME: &str = "The weather is lovely today, let us go for a walk in the park.";
const ANOTHER: &str = "这家公司公布了年度财务报告。";
/// Numbers of a vector of multilingual-e5-small.
const DIMENSIONS: usize = 384;
/// What the trace of one call must hold: the request, the call, and the consumer of its usage.
const TRACED: [(&str, &str); 3] = [
    ("edge", "server"),
    ("inference-routing", "server"),
    ("billing", "consumer"),
];

/// Does the main job once before the reader's eyes: from an unknown phone number to a streamed
/// answer, its bill and its trace.
///
/// # Errors
/// When a step fails.
pub async fn demonstrate(stack: &Stack) -> anyhow::Result<()> {
    let model = stack
        .description()
        .models
        .iter()
        .find(|model| !model.scripted && model.capability == "chat");
    let model = model
        .or(stack.description().models.first())
        .context("the stack has no model")?;
    let mut steps = Steps::new();
    let mut journey = Journey::new(stack);
    become_customer(&mut steps, &mut journey).await?;
    let answer = ask(&mut steps, &journey, model).await?;
    settle(&mut steps, &journey, model, &answer).await?;

    steps.begin("The trace of the call, across the services and the bus");
    let trace = wait_for_trace(stack, &answer.trace_id, &TRACED, Duration::from_secs(20)).await?;
    steps.done(&format!("trace {}", answer.trace_id));
    for line in tree(&trace) {
        println!("        {line}");
    }
    // A stack may be without: `--embedding none`.
    let models = &stack.description().models;
    if let Some(embedding) = models.iter().find(|it| it.capability == "embedding") {
        embed(&mut steps, &journey, embedding).await?;
    }
    next_things::print(stack, &journey, model);
    Ok(())
}

async fn become_customer(steps: &mut Steps, journey: &mut Journey) -> anyhow::Result<()> {
    steps.begin("An unknown phone number asks for a code; it arrives by SMS");
    let code = journey.code().await?;
    let phone = &journey.person.phone;
    steps.done(&format!(
        "{}****{} received {code}",
        &phone[..3],
        &phone[7..]
    ));

    steps.begin("Registers, naming the agreements in force");
    for agreement in journey.current_agreements().await? {
        println!(
            "        accepts {} version {} (sha256 {}…)",
            agreement["agreement"].as_str().unwrap_or_default(),
            agreement["number"],
            agreement["sha256"]
                .as_str()
                .and_then(|hash| hash.get(..12))
                .unwrap_or_default(),
        );
    }
    let session = journey.register_with(&code).await?;
    let account = session.account_id.clone();
    steps.done(&format!("account {account}"));

    steps.begin("Consents to one query, and passes the real-name check at the agency");
    let state = journey.verify_real_name().await?;
    anyhow::ensure!(
        state == "VERIFICATION_STATE_VERIFIED",
        "the check ended as {state}"
    );
    steps.done("name and number agree; both are stored encrypted");

    steps.begin("Orders credit, scans the code, pays; the provider calls back");
    let order_id = journey.order(TOP_UP_FEN).await?;
    journey.simulated().pay(&order_id).await?;
    journey.wait_paid(&order_id).await?;
    steps.done(&format!(
        "order {order_id}, {}",
        yuan(TOP_UP_FEN * 10_000_000)
    ));

    steps.begin("Makes an app and a key");
    let app = journey.app("first app").await?.app_id.clone();
    let key = journey
        .key_for(&["chat", "embedding"])
        .await?
        .key_id
        .clone();
    steps.done(&format!("app {app}, key {key}"));
    Ok(())
}

async fn ask(steps: &mut Steps, journey: &Journey, model: &Model) -> anyhow::Result<Answer> {
    steps.begin(&format!(
        "Asks {} and reads the answer as it comes",
        model.name
    ));
    println!("        > {QUESTION}");
    print!("        < ");
    let mut body = prompt(&model.name, QUESTION);
    body["max_tokens"] = MAX_TOKENS.into();
    let answer = journey
        .chat_stream(body, |chunk| {
            if let Chunk::Text(text) = chunk {
                print!("{}", text.replace('\n', "\n          "));
                std::io::stdout().flush().ok();
            }
        })
        .await;
    println!();
    let answer = answer?;
    if let Some(error) = &answer.error {
        anyhow::bail!("the answer broke off: {error}");
    }
    steps.done(&format!(
        "first text after {:.2} s, {} chunks, call {}, labelled as AI-generated by {}",
        answer.first_text.as_secs_f64(),
        answer.chunks,
        answer.call_id,
        answer.label["ContentProducer"].as_str().unwrap_or("nobody"),
    ));
    Ok(answer)
}

async fn settle(
    steps: &mut Steps,
    journey: &Journey,
    model: &Model,
    answer: &Answer,
) -> anyhow::Result<()> {
    steps.begin("The bill of the call");
    let bill = journey.bill(&answer.call_id).await?;
    let (input_price, output_price) = journey.price(&model.name).await?;
    let (input, output) = (units(&bill, "inputTokens"), units(&bill, "outputTokens"));
    let amount = nanos(&bill["amount"]);
    println!(
        "        input   {input:>6} tokens x {input_price:>8} = {:>12}",
        input * input_price
    );
    println!(
        "        output  {output:>6} tokens x {output_price:>8} = {:>12}",
        output * output_price
    );
    println!(
        "        charged {amount:>36} billionths of a yuan ({})",
        yuan(amount)
    );
    anyhow::ensure!(
        amount == input * input_price + output * output_price,
        "the bill is not units times prices"
    );
    steps.done(&format!(
        "counted by {}, price list {}",
        bill["usageSource"].as_str().unwrap_or_default(),
        bill["priceVersion"]
    ));

    steps.begin("The statement, the balance, and the sum of the whole ledger");
    for line in journey.statement().await? {
        let what = line["orderId"].as_str().map(|id| format!("order {id}"));
        let what = what.unwrap_or_else(|| {
            format!(
                "call  {}",
                line["call"]["callId"].as_str().unwrap_or_default()
            )
        });
        println!("        {what}  {:>16}", yuan(nanos(&line["amount"])));
    }
    let (available, leased) = journey.balance().await?;
    anyhow::ensure!(
        available + leased == TOP_UP_FEN * 10_000_000 - amount,
        "the balance is not what was paid less what was charged"
    );
    let (sum, entries) = ledger_sum(&journey.stack).await?;
    anyhow::ensure!(sum == "0", "the ledger sums to {sum}");
    steps.done(&format!(
        "{} free and {} set aside for the router; {entries} entries sum to {sum}",
        yuan(available),
        yuan(leased)
    ));
    Ok(())
}

/// Vectors by which what says the same is near, whatever its language, and their bill.
async fn embed(steps: &mut Steps, journey: &Journey, model: &Model) -> anyhow::Result<()> {
    steps.begin(&format!(
        "Asks {} for the vectors of a sentence, of the same in English, and of another",
        model.name
    ));
    let texts = [SENTENCE, SAME, ANOTHER];
    let vectors = journey.embed(&model.name, &texts).await?;
    let [sentence, same, another] = vectors.each.as_slice() else {
        anyhow::bail!("{} vectors of 3 texts", vectors.each.len());
    };
    for vector in &vectors.each {
        let length = vector.len();
        anyhow::ensure!(
            length == DIMENSIONS,
            "a vector has {length} dimensions in place of {DIMENSIONS}"
        );
    }
    let (near, far) = (cosine(sentence, same), cosine(sentence, another));
    println!("        {SENTENCE}");
    println!("        {near:.3}  {SAME}");
    println!("        {far:.3}  {ANOTHER}");
    let is_nearer = near > far;
    anyhow::ensure!(is_nearer, "another sentence is as near as the same one");
    steps.done(&format!(
        "{DIMENSIONS} dimensions; the same is nearer, call {}",
        vectors.call_id
    ));

    steps.begin("The bill of the vectors");
    let bill = journey.bill(&vectors.call_id).await?;
    let (price, _) = journey.price(&model.name).await?;
    let (input, amount) = (units(&bill, "inputTokens"), nanos(&bill["amount"]));
    println!(
        "        input   {input:>6} tokens x {price:>8} = {amount:>12} billionths of a yuan ({})",
        yuan(amount)
    );
    anyhow::ensure!(
        input > 0 && amount == input * price,
        "the bill is not units times prices"
    );
    steps.done(&format!(
        "counted by {}, price list {}",
        bill["usageSource"].as_str().unwrap_or_default(),
        bill["priceVersion"]
    ));
    Ok(())
}

/// An `int64` of protobuf JSON.
fn units(bill: &Value, field: &str) -> i64 {
    bill[field]
        .as_str()
        .and_then(|text| text.parse().ok())
        .unwrap_or(0)
}

/// Billionths of a yuan for a reader.
fn yuan(nanos: i64) -> String {
    let sign = if nanos < 0 { "-" } else { "" };
    let nanos = nanos.unsigned_abs();
    let text = format!("{}.{:09}", nanos / 1_000_000_000, nanos % 1_000_000_000);
    let whole = text.find('.').unwrap_or(text.len()) + 3;
    let cut = text[whole..].trim_end_matches('0').len() + whole;
    format!("{sign}¥{}", &text[..cut])
}

struct Steps {
    number: u32,
    begun: Instant,
}

impl Steps {
    fn new() -> Self {
        println!("\nThe main job, once:\n");
        Self {
            number: 0,
            begun: Instant::now(),
        }
    }

    fn begin(&mut self, text: &str) {
        self.number += 1;
        self.begun = Instant::now();
        println!("  {:>2}. {text}", self.number);
    }

    fn done(&self, text: &str) {
        println!(
            "      ✓ {text} ({:.0} ms)",
            self.begun.elapsed().as_secs_f64() * 1e3
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_is_shown_to_the_last_unit() {
        assert_eq!(yuan(10_000_000_000), "¥10.00");
        assert_eq!(yuan(-1_234_500), "-¥0.0012345");
        assert_eq!(yuan(1), "¥0.000000001");
    }
}
