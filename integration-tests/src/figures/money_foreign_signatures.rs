//! Signatures, against implementations that are not ours.

use std::{path::Path, process::Stdio, time::Duration};

use anyhow::Context;
use serde_json::{Value, json};
use tokio::{
    io::AsyncWriteExt,
    process::Command,
    time::{Instant, sleep},
};
use uuid::Uuid;

use super::{Figure, Kind, Reading, Tier};
use crate::{
    journey::{Journey, fen},
    stack::Stack,
};

const REPOSITORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
const FEN: i64 = 250;

/// The figure.
pub(super) fn figure() -> Figure {
    Figure {
        name: "money-foreign-signatures",
        claim: "wechatpayv3 and python-alipay-sdk verify what we sign, and we verify what they sign",
        kind: Kind::Correctness,
        measure: |stack, tier| Box::pin(measure(stack, tier)),
    }
}

async fn measure(stack: Stack, _: Tier) -> anyhow::Result<Reading> {
    let mut customer = Journey::new(&stack);
    customer.register().await?;
    customer.verify_real_name().await?;
    let page = make_us_sign(&customer).await?;
    let at_wechat = order(&customer, "WECHAT_NATIVE").await?;
    let at_alipay = order(&customer, "ALIPAY_PRECREATE").await?;
    let (wechat, alipay) = customer.simulated().payment_truth().await?;
    let question = json!({
        "folder": stack.description().dir.join("simulators"),
        "wechat_requests": wechat["requests"],
        "alipay_requests": alipay["requests"],
        "alipay_page": page["codeUrl"],
        "wechat_order": text(&at_wechat, "orderId").replace('-', ""),
        "alipay_order": text(&at_alipay, "orderId").replace('-', ""),
        "fen": FEN,
    });
    let answer = ask(&question).await?;
    let (mut passed, mut failed) = (0_u32, 0_u32);
    for (what, counts) in answer["checks"].as_object().into_iter().flatten() {
        let count = |name: &str| u32::try_from(counts[name].as_u64().unwrap_or_default());
        let (good, bad) = (count("passed")?, count("failed")?);
        println!("  {what}: {good} hold, {bad} do not");
        passed += good;
        failed += bad + u32::from(good == 0);
    }
    for (before, notice) in answer["notices"]
        .as_array()
        .into_iter()
        .flatten()
        .enumerate()
    {
        let status = deliver(&customer, notice).await?;
        let credited = customer.balance().await?.0;
        let expected = BASE + (i64::try_from(before)? + 1) * FEN * 10_000_000;
        println!(
            "  {}: answered {status}, credited {credited} of {expected}",
            text(notice, "path")
        );
        let good = status / 100 == 2 && credited == expected;
        passed += u32::from(good);
        failed += u32::from(!good);
    }
    Ok(Reading {
        figure: format!("{passed} of {}", passed + failed),
        unit: "signatures hold".to_owned(),
        goal: "all".to_owned(),
        holds: failed == 0 && passed >= 20,
    })
}

/// What the customer has after [`make_us_sign`]: two orders.
const BASE: i64 = 2 * FEN * 10_000_000;

/// Makes billing sign one of everything: offers, questions, closing, refunds, a page. Answers the
/// order with the page.
async fn make_us_sign(customer: &Journey) -> anyhow::Result<Value> {
    let method = |name: &str| format!("wanwu.billing.v1.OrderService/{name}");
    for (first, second) in [
        ("WECHAT_NATIVE", "ALIPAY_PRECREATE"),
        ("ALIPAY_PRECREATE", "WECHAT_NATIVE"),
    ] {
        let made = order(customer, first).await?;
        let order_id = text(&made, "orderId");
        let add = json!({"orderId": order_id, "provider": provider(second)});
        customer
            .call_verified(&method("AddPaymentChannel"), add)
            .await?;
        let simulated = customer.simulated();
        if first == "WECHAT_NATIVE" {
            simulated.pay(order_id).await?;
            customer.wait_paid(order_id).await?;
            simulated.pay_at_alipay(order_id).await?;
        } else {
            simulated.pay_at_alipay(order_id).await?;
            customer.wait_paid(order_id).await?;
            // The channel is closed by now or in a moment; the payer was in the middle.
            simulated.pay_closed(order_id).await?;
        }
    }
    let cancelled = order(customer, "WECHAT_NATIVE").await?;
    let body = json!({"orderId": text(&cancelled, "orderId")});
    customer.call(&method("CancelOrder"), body).await?;
    let page = order(customer, "ALIPAY_PAGE").await?;
    let begin = Instant::now();
    loop {
        let (wechat, alipay) = customer.simulated().payment_truth().await?;
        let has = |truth: &Value, what: &str| truth["requests"].to_string().contains(what);
        let refunds =
            has(&wechat, "/v3/refund/domestic/refunds") && has(&alipay, "alipay.trade.refund");
        if refunds && has(&wechat, "/close") && has(&alipay, "alipay.trade.query") {
            return Ok(page);
        }
        anyhow::ensure!(
            begin.elapsed() < Duration::from_secs(15),
            "billing signed too little"
        );
        sleep(Duration::from_millis(200)).await;
    }
}

fn provider(name: &str) -> String {
    format!("PAYMENT_PROVIDER_{name}")
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_default()
}

async fn order(customer: &Journey, name: &str) -> anyhow::Result<Value> {
    let body = json!({
        "requestId": Uuid::now_v7(),
        "amount": fen(FEN),
        "provider": provider(name),
    });
    let method = "wanwu.billing.v1.OrderService/CreateTopUpOrder";
    let answer = customer.call_verified(method, body).await?;
    Ok(answer["order"].clone())
}

/// Asks the packages: JSON in, JSON out.
async fn ask(question: &Value) -> anyhow::Result<Value> {
    let script = Path::new(REPOSITORY).join("scripts/ci/payment-signatures");
    let mut process = Command::new(script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("scripts/ci/payment-signatures cannot be run")?;
    let mut stdin = process.stdin.take().context("no standard input")?;
    stdin.write_all(question.to_string().as_bytes()).await?;
    drop(stdin);
    let output = process.wait_with_output().await?;
    anyhow::ensure!(
        output.status.success(),
        "scripts/ci/payment-signatures failed"
    );
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// Sends a notice that a package signed.
async fn deliver(customer: &Journey, notice: &Value) -> anyhow::Result<u16> {
    let api = customer.api();
    let address = format!("{}{}", api.base(), text(notice, "path"));
    let mut request = api.http().post(address);
    for (name, value) in notice["headers"].as_object().into_iter().flatten() {
        request = request.header(name, value.as_str().unwrap_or_default());
    }
    let answer = request.body(text(notice, "body").to_owned()).send().await?;
    Ok(answer.status().as_u16())
}
