//! Notices that are repeated, shuffled, early and lost.

use std::time::Duration;

use futures::{StreamExt, TryStreamExt, stream};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use super::{Figure, Kind, Reading, Tier};
use crate::{
    journey::{Journey, fen, ledger_sum},
    stack::Stack,
};

const FEN: i64 = 77;
const COPIES: u32 = 15;
/// Orders that are made at the same time.
const AT_ONCE: usize = 16;
/// The provider waits so long.
const WORST: Duration = Duration::from_secs(5);

/// The figure.
pub(super) fn figure() -> Figure {
    Figure {
        name: "money-callbacks",
        claim: "15 copies of each notice, shuffled, early or lost: each order is credited once",
        kind: Kind::Correctness,
        measure: |stack, tier| Box::pin(measure(stack, tier)),
    }
}

async fn measure(stack: Stack, tier: Tier) -> anyhow::Result<Reading> {
    let orders = if tier == Tier::Quick { 60 } else { 2000 };
    let mut customer = Journey::new(&stack);
    customer.register().await?;
    customer.verify_real_name().await?;
    let simulated = customer.simulated();
    // At each of the two providers: a tenth of the notices is lost, a tenth of WeChat's answers to
    // our create comes after the payment.
    simulated
        .payment_faults(json!([
            {"operation": "callback", "kind": "lose", "times": orders / 20},
            {"operation": "callback", "kind": "repeat", "count": COPIES},
            {"operation": "prepay_answer", "kind": "delay", "millis": 400, "times": orders / 20},
        ]))
        .await?;
    let begin = Instant::now();
    let work = async {
        let made = create(&customer, orders).await?;
        let lost = wait(&customer, made.len()).await?;
        anyhow::Ok((made, lost))
    };
    let found = tokio::select! {
        found = work => found,
        stopped = pay_as_they_come(&customer) => stopped,
    };
    simulated.payment_faults(json!([])).await?;
    let (made, lost) = found?;
    println!(
        "  {orders} orders in {:.1?}; the last of the lost ones was found {lost:.1?} after it was paid",
        begin.elapsed()
    );
    judge(&stack, &customer, &made, lost).await
}

/// Pays every order at WeChat Pay as soon as the provider knows it: some before our create
/// returns.
async fn pay_as_they_come<T>(customer: &Journey) -> anyhow::Result<T> {
    loop {
        let (wechat, _) = customer.simulated().payment_truth().await?;
        for (number, order) in wechat["orders"].as_object().into_iter().flatten() {
            if order["trade_state"] == "NOTPAY" && order["total"] == FEN {
                customer.simulated().pay(number).await?;
            }
        }
        sleep(Duration::from_millis(20)).await;
    }
}

/// Makes the orders, half of them at each provider, and pays those at Alipay.
async fn create(customer: &Journey, orders: usize) -> anyhow::Result<Vec<String>> {
    stream::iter(0..orders)
        .map(|number| async move {
            if number % 2 == 0 {
                return anyhow::Ok(customer.order(FEN).await?);
            }
            let body = json!({
                "requestId": Uuid::now_v7(),
                "amount": fen(FEN),
                "provider": "PAYMENT_PROVIDER_ALIPAY_PRECREATE",
            });
            let method = "wanwu.billing.v1.OrderService/CreateTopUpOrder";
            let answer = customer.call_verified(method, body).await?;
            let order_id = answer["order"]["orderId"].as_str().unwrap_or_default();
            customer.simulated().pay_at_alipay(order_id).await?;
            anyhow::Ok(order_id.to_owned())
        })
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await
}

/// Waits until all is credited; answers how long the last one took after the last order.
async fn wait(customer: &Journey, orders: usize) -> anyhow::Result<Duration> {
    let expected = i64::try_from(orders)? * FEN * 10_000_000;
    let begin = Instant::now();
    while customer.balance().await?.0 < expected {
        anyhow::ensure!(
            begin.elapsed() < Duration::from_secs(300),
            "lost ones are not found"
        );
        sleep(Duration::from_millis(100)).await;
    }
    let took = begin.elapsed();
    // What would be credited twice would be by now.
    sleep(Duration::from_secs(1)).await;
    Ok(took)
}

async fn judge(
    stack: &Stack,
    customer: &Journey,
    orders: &[String],
    lost: Duration,
) -> anyhow::Result<Reading> {
    let (wechat, alipay) = customer.simulated().payment_truth().await?;
    let mut micros = Vec::new();
    let (mut told, mut failed) = (0, 0);
    for order in orders {
        let number = order.replace('-', "");
        let known = match &wechat["orders"][&number] {
            Value::Null => &alipay["trades"][&number],
            known => known,
        };
        let list = |name: &str| known[name].as_array().cloned().unwrap_or_default();
        let statuses = list("notices");
        told += statuses.len();
        failed += statuses
            .iter()
            .filter(|status| !matches!(status.as_u64(), Some(200 | 204)))
            .count();
        micros.extend(list("notice_micros").iter().filter_map(Value::as_u64));
    }
    micros.sort_unstable();
    let at =
        |share: usize| micros.get((micros.len() * share / 100).min(micros.len().saturating_sub(1)));
    let worst = Duration::from_micros(micros.last().copied().unwrap_or_default());
    let p99 = Duration::from_micros(at(99).copied().unwrap_or_default());
    println!(
        "  {told} notices, {failed} not answered with success; p99 {p99:.1?} (goal < 100 ms), worst {worst:.1?} (goal < 5 s)"
    );
    let expected = i64::try_from(orders.len())? * FEN * 10_000_000;
    let (available, _) = customer.balance().await?;
    let (sum, _) = ledger_sum(stack).await?;
    let off = (available - expected) / (FEN * 10_000_000);
    println!("  credited {available}, paid {expected}; the ledger sums to {sum}");
    let minutes = lost <= Duration::from_secs(300);
    Ok(Reading {
        figure: off.to_string(),
        unit: format!("of {} orders credited wrongly", orders.len()),
        goal: "0, lost ones found within 5 min, answered within 5 s".to_owned(),
        holds: available == expected && sum == "0" && minutes && worst < WORST && told > 0,
    })
}
