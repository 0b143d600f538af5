//! A request that is sent many times at once has one effect.

use std::{collections::BTreeSet, time::Duration};

use futures::{StreamExt, future::join_all, stream};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use super::{Figure, Kind, Reading, Tier, customers::customers, money_router::Router};
use crate::{
    journey::{ApiError, Journey, fen},
    stack::Stack,
};

const COPIES: usize = 50;
const METHOD: &str = "wanwu.billing.v1.OrderService/CreateTopUpOrder";
/// Request ids that are in flight together.
const TOGETHER: usize = 4;
/// A copy that is told to come later comes later, at most so often.
const TRIES: u32 = 40;

/// The figure.
pub(super) fn figure() -> Figure {
    Figure {
        name: "money-idempotency",
        claim: "50 copies at once of each request have one effect; another body is refused",
        kind: Kind::Correctness,
        measure: |stack, tier| Box::pin(measure(stack, tier)),
    }
}

async fn measure(stack: Stack, tier: Tier) -> anyhow::Result<Reading> {
    let requests = match tier {
        Tier::Quick => 20,
        Tier::Full => 1_000,
    };
    let customers = customers(&stack, 4, 100).await?;
    let database = Router::start(&stack, &customers[0], 1).await?.billing;
    let before = orders(&database, &customers).await?;
    let begin = Instant::now();
    let found: Vec<_> = stream::iter(0..requests)
        .map(|number| {
            let customer = &customers[number % customers.len()];
            async move { one_request(customer, Uuid::now_v7()).await }
        })
        .buffer_unordered(TOGETHER)
        .collect()
        .await;
    let took = begin.elapsed();
    let mut wrong = Vec::new();
    let mut refused = 0;
    for found in found {
        let (orders, others) = found?;
        if orders.len() != 1 {
            wrong.push(format!(
                "one request was answered with {} orders",
                orders.len()
            ));
        }
        refused += others;
    }
    let effects = orders(&database, &customers).await? - before;
    if effects != requests as i64 {
        wrong.push(format!("{requests} requests made {effects} orders"));
    }
    if refused != requests {
        wrong.push(format!("{refused} of {requests} other bodies were refused"));
    }
    for line in wrong.iter().take(20) {
        println!("  WRONG: {line}");
    }
    println!(
        "  {requests} requests of {COPIES} copies: {effects} effects in {took:.1?}; {refused} of {requests} other bodies refused"
    );
    Ok(Reading {
        figure: effects.to_string(),
        unit: format!("effects of {requests} requests sent {COPIES} times at once"),
        goal: requests.to_string(),
        holds: wrong.is_empty(),
    })
}

/// All copies at once, then one with another body; answers the orders that were told of, and
/// whether the other body was refused.
async fn one_request(
    customer: &Journey,
    request: Uuid,
) -> anyhow::Result<(BTreeSet<String>, usize)> {
    let body = |amount| {
        json!({
            "requestId": request,
            "amount": fen(amount),
            "provider": "PAYMENT_PROVIDER_WECHAT_NATIVE",
        })
    };
    let copies = (0..COPIES).map(|_| persistent(customer, body(100)));
    let mut orders = BTreeSet::new();
    for answer in join_all(copies).await {
        orders.insert(answer?["order"]["orderId"].to_string());
    }
    let other = customer.call(METHOD, body(101)).await;
    let refused = matches!(&other, Err(error) if error.reason() == "REQUEST_ID_REUSED");
    Ok((orders, usize::from(refused)))
}

/// As a client does that was told to come later: the same request again.
async fn persistent(customer: &Journey, body: Value) -> Result<Value, ApiError> {
    let mut tries = 0;
    loop {
        match customer.call(METHOD, body.clone()).await {
            Err(error) if matches!(error.status(), 409 | 429 | 503) && tries < TRIES => {
                tries += 1;
                sleep(Duration::from_millis(250)).await;
            }
            other => return other,
        }
    }
}

async fn orders(database: &sqlx::PgPool, customers: &[Journey]) -> anyhow::Result<i64> {
    let sessions = customers
        .iter()
        .filter_map(|customer| customer.session.as_ref());
    let accounts: Vec<Uuid> = sessions
        .map(|session| session.account_id.parse())
        .collect::<Result<_, _>>()?;
    let count = sqlx::query_scalar("select count(*) from orders where account_id = any ($1)");
    Ok(count.bind(accounts).fetch_one(database).await?)
}
