//! Orders that are paid in full at WeChat Pay and at Alipay.

use std::{collections::BTreeMap, time::Duration};

use futures::{StreamExt, TryStreamExt, stream};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::{Figure, Kind, Reading, Tier};
use crate::{
    journey::{Journey, ledger_sum},
    stack::Stack,
};

const FEN: i64 = 123;
/// Orders that are made and paid at the same time.
const AT_ONCE: usize = 12;

/// The figure.
pub(super) fn figure() -> Figure {
    Figure {
        name: "money-two-channels",
        claim: "who pays an order at both providers is credited once and gets the other payment back, once",
        kind: Kind::Correctness,
        measure: |stack, tier| Box::pin(measure(stack, tier)),
    }
}

async fn measure(stack: Stack, tier: Tier) -> anyhow::Result<Reading> {
    let (orders, limit) = match tier {
        Tier::Quick => (60, Duration::from_secs(60)),
        Tier::Full => (1000, Duration::from_secs(600)),
    };
    let mut customer = Journey::new(&stack);
    customer.register().await?;
    customer.verify_real_name().await?;
    let simulated = customer.simulated();
    // Notices come up to 3 times, some are lost, and some refunds are done without an answer.
    let lost = orders / 10;
    simulated
        .payment_faults(json!([
            {"operation": "callback", "kind": "lose", "times": lost},
            {"operation": "callback", "kind": "repeat", "count": 3},
            {"operation": "refund", "kind": "lose", "times": 5},
        ]))
        .await?;
    let begin = Instant::now();
    let made = pay_twice(&customer, orders).await;
    let wrong = match made {
        Ok(made) => settle(&customer, &made, begin + limit).await,
        Err(error) => Err(error),
    };
    simulated.payment_faults(json!([])).await?;
    let wrong = wrong?;
    let took = begin.elapsed();
    let (sum, _) = ledger_sum(&stack).await?;
    println!("  {orders} orders paid twice, settled after {took:.1?}; the ledger sums to {sum}");
    Ok(Reading {
        figure: wrong.to_string(),
        unit: format!("of {orders} orders credited or refunded wrongly"),
        goal: "0".to_owned(),
        holds: wrong == 0 && sum == "0",
    })
}

/// Makes orders, offers each at both providers and pays both.
async fn pay_twice(customer: &Journey, orders: usize) -> anyhow::Result<Vec<String>> {
    stream::iter(0..orders)
        .map(|number| async move {
            let order_id = customer.order(FEN).await?;
            let body = json!({
                "orderId": order_id,
                "provider": "PAYMENT_PROVIDER_ALIPAY_PRECREATE",
            });
            let method = "wanwu.billing.v1.OrderService/AddPaymentChannel";
            customer.call_verified(method, body).await?;
            let simulated = customer.simulated();
            if number % 2 == 0 {
                simulated.pay(&order_id).await?;
                simulated.pay_at_alipay(&order_id).await?;
            } else {
                simulated.pay_at_alipay(&order_id).await?;
                simulated.pay(&order_id).await?;
            }
            anyhow::Ok(order_id)
        })
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await
}

/// Waits until every order was refunded once; answers how many are wrong then.
async fn settle(customer: &Journey, orders: &[String], end: Instant) -> anyhow::Result<usize> {
    let credited = i64::try_from(orders.len())? * FEN * 10_000_000;
    loop {
        let (wechat, alipay) = customer.simulated().payment_truth().await?;
        let back = refunds(&wechat, &alipay);
        let wrong = orders.iter().filter(|order| {
            let refunds = back.get(&order.replace('-', ""));
            refunds.is_none_or(|refunds| *refunds != [FEN])
        });
        let wrong = wrong.count();
        let (available, _) = customer.balance().await?;
        if (wrong == 0 && available == credited) || Instant::now() >= end {
            // A second refund would come now.
            sleep(Duration::from_secs(2)).await;
            let (wechat, alipay) = customer.simulated().payment_truth().await?;
            let back = refunds(&wechat, &alipay);
            let twice = back.values().filter(|refunds| refunds.len() > 1).count();
            let (available, _) = customer.balance().await?;
            let unequal = usize::from(available != credited);
            println!(
                "  not refunded once: {wrong}; refunded twice: {twice}; available {available}, expected {credited}"
            );
            return Ok(wrong + twice + unequal);
        }
        sleep(Duration::from_millis(250)).await;
    }
}

/// What the providers gave back, in fen, by order.
fn refunds(wechat: &Value, alipay: &Value) -> BTreeMap<String, Vec<i64>> {
    let mut back = BTreeMap::<String, Vec<i64>>::new();
    for refund in wechat["refunds"].as_object().into_iter().flatten() {
        let number = refund.1["out_trade_no"].as_str().unwrap_or_default();
        let fen = refund.1["refund"].as_i64().unwrap_or_default();
        back.entry(number.to_owned()).or_default().push(fen);
    }
    for (number, trade) in alipay["trades"].as_object().into_iter().flatten() {
        let amounts = trade["refunds"].as_object().into_iter().flatten();
        let amounts = amounts.filter_map(|(_, amount)| amount.as_i64());
        back.entry(number.clone()).or_default().extend(amounts);
    }
    back
}
