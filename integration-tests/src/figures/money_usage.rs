//! Usage that is repeated, reordered and cut off by a dying broker adds up exactly.

use std::{collections::BTreeMap, time::Duration};

use tokio::time::{Instant, sleep};
use uuid::Uuid;

use super::{
    Figure, Kind, Reading, Tier,
    customers::customers,
    money_router::{Router, Spent, added_up, ids},
};
use crate::{
    journey::{Journey, ledger_sum},
    stack::Stack,
};

const CUSTOMERS: usize = 8;
const TOP_UP_FEN: i64 = 500_000;
const CALLS_A_LEASE: usize = 100;

/// The figure.
pub(super) fn figure() -> Figure {
    Figure {
        name: "money-usage",
        claim: "usage events, 10 % repeated, 5 % reordered, with broker kills: the sum is exact",
        kind: Kind::Correctness,
        measure: |stack, tier| Box::pin(measure(stack, tier)),
    }
}

async fn measure(stack: Stack, tier: Tier) -> anyhow::Result<Reading> {
    let (events, kills, patience) = match tier {
        Tier::Quick => (3_000, 1, Duration::from_secs(80)),
        Tier::Full => (1_000_000, 10, Duration::from_secs(2 * 3600)),
    };
    let customers = customers(&stack, CUSTOMERS, TOP_UP_FEN).await?;
    let mut router = Router::start(&stack, &customers[0], 1).await?;
    let (mut leases, mut usages) = (Vec::new(), Vec::new());
    for customer in &customers {
        let account = account(customer);
        let (more, used) = router
            .spend(account, events / CUSTOMERS, CALLS_A_LEASE)
            .await?;
        leases.extend(more);
        usages.extend(used);
    }
    let oracle = added_up(&usages, router.prices());
    router.shuffle(&mut usages, 20);
    let repeated = router.some(&usages, usages.len() / 20);
    close_every_second(&router, &leases, 0).await?;

    let begin = Instant::now();
    let told = router.tell(&usages).await?;
    router.tell(&repeated).await?;
    let killing = kill_broker(&stack, &router, &leases, [usages.len(), kills], patience);
    let settling = settled(&router, &leases, usages.len(), patience);
    let (killed, settling) = tokio::join!(killing, settling);
    killed?;
    let took = settling?;
    println!(
        "  {} events settled in {took:.1?}, a broker killed {kills} times within: {:.0} a second",
        usages.len(),
        usages.len() as f64 / took.as_secs_f64()
    );
    let again = router.send_again(&told[..told.len() / 20]).await?;
    let other = repeated.len();
    println!("  {other} came under another id and {again} under their own again");
    close_every_second(&router, &leases, 1).await?;
    delivered(&router, Duration::from_secs(60)).await?;

    let wrong = check(&stack, &router, &customers, &leases, &oracle).await?;
    for line in wrong.iter().take(20) {
        println!("  WRONG: {line}");
    }
    println!("  {:.1?} in all", begin.elapsed());
    Ok(Reading {
        figure: wrong.len().to_string(),
        unit: format!("wrong sums of {} events", usages.len()),
        goal: "0".to_owned(),
        holds: wrong.is_empty(),
    })
}

fn account(customer: &Journey) -> &str {
    customer
        .session
        .as_ref()
        .map_or("", |session| &session.account_id)
}

/// Half the leases are closed before their usage comes, half after.
async fn close_every_second(router: &Router, leases: &[Spent], first: usize) -> anyhow::Result<()> {
    for spent in leases.iter().skip(first).step_by(2) {
        router.close(spent).await?;
    }
    Ok(())
}

/// Kills the broker so often, each time when as many more of the calls are settled.
async fn kill_broker(
    stack: &Stack,
    router: &Router,
    leases: &[Spent],
    [calls, kills]: [usize; 2],
    patience: Duration,
) -> anyhow::Result<()> {
    let broker = stack.process("rabbitmq");
    for kill in 1..=kills {
        settled(router, leases, calls * kill / (kills + 1), patience).await?;
        broker.kill9();
        broker.start()?;
        broker.wait_ready(Duration::from_secs(60)).await?;
    }
    Ok(())
}

/// Waits until so many calls are settled; answers how long that took.
pub(super) async fn settled(
    router: &Router,
    leases: &[Spent],
    calls: usize,
    patience: Duration,
) -> anyhow::Result<Duration> {
    let (begin, leases) = (Instant::now(), ids(leases));
    loop {
        let settled = router.settled(&leases).await?;
        if settled >= calls as i64 {
            return Ok(begin.elapsed());
        }
        anyhow::ensure!(
            begin.elapsed() < patience,
            "{settled} of {calls} calls are settled after {patience:?}"
        );
        sleep(Duration::from_millis(50)).await;
    }
}

/// Waits until the broker has everything and billing has had a moment for it.
async fn delivered(router: &Router, patience: Duration) -> anyhow::Result<()> {
    let begin = Instant::now();
    while router.unsent().await? > 0 {
        anyhow::ensure!(begin.elapsed() < patience, "events are still in the outbox");
        sleep(Duration::from_millis(100)).await;
    }
    sleep(Duration::from_secs(1)).await;
    Ok(())
}

async fn check(
    stack: &Stack,
    router: &Router,
    customers: &[Journey],
    leases: &[Spent],
    oracle: &BTreeMap<String, i128>,
) -> anyhow::Result<Vec<String>> {
    let mut wrong = Vec::new();
    for customer in customers {
        let id = account(customer);
        let should = oracle.get(id).copied().unwrap_or_default();
        let (calls, booked): (String, String) = sqlx::query_as(
            "select (select coalesce(sum(amount_nanos), 0)::text from calls where account_id = $1),
                    (select coalesce(sum(amount_nanos), 0)::text
                     from entries join transfers using (transfer_id)
                          join ledger_accounts a using (ledger_account_id)
                     where transfers.kind = 'usage' and a.kind = 'revenue' and a.account_id = $1)",
        )
        .bind(id.parse::<Uuid>()?)
        .fetch_one(&router.billing)
        .await?;
        if calls != should.to_string() || booked != should.to_string() {
            wrong.push(format!(
                "{id}: {calls} billed, {booked} booked, {should} spent"
            ));
        }
        let (available, leased) = customer.balance().await?;
        let left = i128::from(TOP_UP_FEN) * 10_000_000 - should;
        if i128::from(available) != left || leased != 0 {
            wrong.push(format!(
                "{id}: {available} free, {leased} set aside, {left} should be"
            ));
        }
    }
    let open: i64 = sqlx::query_scalar(
        "select count(*) from leases where lease_id = any ($1) and state <> 'freed'",
    )
    .bind(ids(leases))
    .fetch_one(&router.billing)
    .await?;
    if open > 0 {
        wrong.push(format!("{open} leases are not free"));
    }
    let (sum, _) = ledger_sum(stack).await?;
    if sum != "0" {
        wrong.push(format!("the ledger sums to {sum}"));
    }
    Ok(wrong)
}
