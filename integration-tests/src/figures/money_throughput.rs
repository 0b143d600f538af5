//! How fast money moves, beside the plain rows that it leaves.

use std::{
    process::Command,
    time::{Duration, Instant},
};

use anyhow::Context;
use futures::future::join_all;
use sqlx::{Connection, PgConnection};
use url::Url;

use super::{
    Figure, Kind, Reading, Tier,
    customers::customers,
    money_router::{Router, Spent},
    money_usage::settled,
};
use crate::stack::Stack;

const CUSTOMERS: usize = 8;
/// Routers' workers that take and give back leases at once.
const WORKERS: usize = 16;
/// A lease that is worth nearly nothing.
const LEASE: i64 = 1_000_000;
/// The rows of one settled call, without checks, chain, inbox and balances.
const PLAIN: &str = "\
insert into plain_calls values (gen_random_uuid(), gen_random_uuid(), gen_random_uuid(),
    gen_random_uuid(), gen_random_uuid(), 'scripted', 20, 20, 1, 40000, 'engine', now());
insert into plain_transfers values (gen_random_uuid(), 'usage', gen_random_uuid(), now());
insert into plain_entries values (gen_random_uuid(), 1, -40000), (gen_random_uuid(), 2, 40000);
";

/// The figure.
pub(super) fn figure() -> Figure {
    Figure {
        name: "money-throughput",
        claim: "paid calls settled a second and ledger transfers a second, beside plain INSERTs of the rows",
        kind: Kind::Speed,
        measure: |stack, tier| Box::pin(measure(stack, tier)),
    }
}

async fn measure(stack: Stack, tier: Tier) -> anyhow::Result<Reading> {
    let (events, seconds) = match tier {
        Tier::Quick => (4_000, 2),
        Tier::Full => (100_000, 30),
    };
    let customers = customers(&stack, CUSTOMERS, 500_000).await?;
    let accounts: Vec<String> = customers
        .iter()
        .filter_map(|customer| Some(customer.session.as_ref()?.account_id.clone()))
        .collect();
    let mut router = Router::start(&stack, &customers[0], 2).await?;
    let (mut leases, mut usages) = (Vec::new(), Vec::new());
    for account in &accounts {
        let (more, used) = router.spend(account, events / CUSTOMERS, 100).await?;
        leases.extend(more);
        usages.extend(used);
    }
    // Customers call at the same time.
    router.shuffle(&mut usages, 1);
    router.tell(&usages).await?;
    let took = settled(&router, &leases, usages.len(), Duration::from_secs(600)).await?;
    for spent in &leases {
        router.close(spent).await?;
    }
    let settles = usages.len() as f64 / took.as_secs_f64();
    let (transfers, p99) = lend_and_return(&router, &accounts, seconds).await?;
    let plain = plain_inserts(&stack, seconds).await?;
    println!(
        "  settled paid calls {settles:>8.0} /s  {:.2} of plain",
        settles / plain
    );
    println!(
        "  ledger transfers   {transfers:>8.0} /s  {:.2} of plain",
        transfers / plain
    );
    println!("  plain INSERTs      {plain:>8.0} /s  (one call, one transfer, two entries)");
    println!("  a lease call, {WORKERS} at once: p99 {p99:.1?}");
    Ok(Reading {
        figure: format!("{:.2}", settles / plain),
        unit: format!("of plain INSERTs: {settles:.0} settled calls a second"),
        goal: ">= 0.25".to_owned(),
        holds: settles / plain >= 0.25,
    })
}

/// Leases that are taken and given back, for so long: transfers a second and the p99 of taking.
async fn lend_and_return(
    router: &Router,
    accounts: &[String],
    seconds: u64,
) -> anyhow::Result<(f64, Duration)> {
    let begin = Instant::now();
    let workers = (0..WORKERS).map(|worker| {
        let account = &accounts[worker % accounts.len()];
        async move {
            let mut times = Vec::new();
            while begin.elapsed() < Duration::from_secs(seconds) {
                let asked = Instant::now();
                let (lease, _) = router.acquire(account, LEASE).await?;
                times.push(asked.elapsed());
                let spent = Spent {
                    lease,
                    calls: 0,
                    sum: 0,
                };
                router.close(&spent).await?;
            }
            anyhow::Ok(times)
        }
    });
    let mut times = Vec::new();
    for worker in join_all(workers).await {
        times.extend(worker?);
    }
    let took = begin.elapsed().as_secs_f64();
    times.sort();
    let p99 = times.get(times.len() * 99 / 100).copied();
    Ok((2.0 * times.len() as f64 / took, p99.unwrap_or_default()))
}

/// Transactions a second of pgbench that write the same rows into tables with nothing but a primary
/// key.
async fn plain_inserts(stack: &Stack, seconds: u64) -> anyhow::Result<f64> {
    let superuser = Url::parse(&stack.description().database.superuser_url)?;
    let mut connection = PgConnection::connect(superuser.as_str()).await?;
    sqlx::raw_sql(
        "drop table if exists plain_calls, plain_transfers, plain_entries;
         create table plain_calls (call_id uuid primary key, lease_id uuid, account_id uuid,
             app_id uuid, key_id uuid, model text, input_tokens bigint, output_tokens bigint,
             price_version integer, amount_nanos bigint, usage_source text, booked_at timestamptz);
         create table plain_transfers (transfer_id uuid primary key, kind text, cause_id uuid,
             booked_at timestamptz);
         create table plain_entries (transfer_id uuid, account bigint, amount_nanos bigint,
             primary key (transfer_id, account))",
    )
    .execute(&mut connection)
    .await?;
    let script = tempfile::NamedTempFile::new()?;
    // One transaction, as a settled call is one.
    std::fs::write(script.path(), format!("begin;\n{PLAIN}commit;\n"))?;
    let mut command = Command::new(crate::stack::postgres_programs()?.join("pgbench"));
    command
        .args(["--no-vacuum", "--client=8", "--jobs=2"])
        .arg(format!("--time={seconds}"))
        .arg(format!("--file={}", script.path().display()))
        .arg(format!(
            "--host={}",
            superuser.host_str().unwrap_or_default()
        ))
        .arg(format!("--port={}", superuser.port().unwrap_or(5432)))
        .arg(format!("--username={}", superuser.username()))
        .arg(superuser.path().trim_start_matches('/'))
        .env("PGPASSWORD", superuser.password().unwrap_or_default());
    let output = tokio::task::spawn_blocking(move || command.output()).await??;
    sqlx::raw_sql("drop table plain_calls, plain_transfers, plain_entries")
        .execute(&mut connection)
        .await?;
    let text = String::from_utf8_lossy(&output.stdout);
    let tps = text.lines().find_map(|line| line.strip_prefix("tps = "));
    let tps = tps.and_then(|rest| rest.split_whitespace().next()?.parse().ok());
    tps.with_context(|| format!("pgbench: {}", String::from_utf8_lossy(&output.stderr)))
}
