//! From a revocation to the first refused call, with the broker up and down.

use std::time::Duration;

use serde_json::json;
use tokio::time::{Instant, sleep};

use super::{Figure, Kind, Reading, Tier, customers::scripted};
use crate::{
    journey::{Journey, Operator},
    stack::Stack,
};

const LIMIT: Duration = Duration::from_secs(5);

/// The figure.
pub(super) fn figure() -> Figure {
    Figure {
        name: "revocation",
        claim: "revoked key, withdrawn consent, suspended account: refused within a second, broker or no broker",
        kind: Kind::Correctness,
        measure: |stack, tier| Box::pin(measure(stack, tier)),
    }
}

async fn measure(stack: Stack, tier: Tier) -> anyhow::Result<Reading> {
    let rounds = if tier == Tier::Quick { 1 } else { 10 };
    let mut worst = Duration::ZERO;
    for broker in ["up", "down"] {
        let mut customers = Vec::new();
        for _ in 0..rounds * 3 {
            customers.push(Journey::ready_to_call(&stack, 100).await?);
        }
        let operator = Operator::with_roles(&stack, &["security"]).await?;
        if broker == "down" {
            stack.process("rabbitmq").stop();
        }
        let outcome = revoke_all(&customers, &operator, broker).await;
        stack.process("rabbitmq").cont();
        worst = worst.max(outcome?);
    }
    Ok(Reading {
        figure: worst.as_millis().to_string(),
        unit: "ms at worst".to_owned(),
        goal: "<= 1000 ms".to_owned(),
        holds: worst <= Duration::from_secs(1),
    })
}

async fn revoke_all(
    customers: &[Journey],
    operator: &Operator,
    broker: &str,
) -> anyhow::Result<Duration> {
    let mut worst = Duration::ZERO;
    for three in customers.chunks(3) {
        for (what, journey) in ["key", "consent", "account"].iter().zip(three) {
            call(journey).await?;
            let begin = Instant::now();
            match *what {
                "key" => journey.revoke_key().await?,
                "consent" => {
                    let body = json!({"purpose": "core_service"});
                    let method = "wanwu.privacy.v1.ConsentService/WithdrawConsent";
                    journey.call(method, body).await?;
                }
                _ => {
                    let session = journey.session.as_ref();
                    let account = session.map(|session| session.account_id.as_str());
                    operator.suspend(account.unwrap_or_default()).await?;
                }
            }
            while call(journey).await.is_ok() {
                anyhow::ensure!(begin.elapsed() < LIMIT, "{what}: never refused");
                sleep(Duration::from_millis(5)).await;
            }
            println!("  broker {broker}, {what}: {:.0?}", begin.elapsed());
            worst = worst.max(begin.elapsed());
        }
    }
    Ok(worst)
}

async fn call(journey: &Journey) -> anyhow::Result<()> {
    journey.chat(scripted(json!({"tokens": 1}))).await?;
    Ok(())
}
