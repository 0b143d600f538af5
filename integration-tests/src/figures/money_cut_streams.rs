//! Streams that end before their end: a client goes away, an engine breaks, a router is killed. What was
//! sent is billed, a kill gives away less than a progress window, and no client takes what broke for whole.

use std::time::Duration;

use futures::{StreamExt, future::join_all, stream};
use rand::{Rng, SeedableRng, rngs::StdRng};
use serde_json::{Map, Value, json};
use tokio::time::{Instant, sleep};
use toml::Table;

use super::{
    Figure, Kind, Reading, Tier,
    customers::{Bill, customers, scripted},
    model_path::{ModelPath, Wanted},
    paid_streams::{Books, End, Taken, take, target},
};
use crate::{
    journey::{Journey, ledger_sum},
    stack::Stack,
};

/// Tokens of an answer, every one of which is cut before.
const TOKENS: u64 = 120;
/// What a router's kill may give away of a stream.
const WINDOW: u64 = 64;
const TOP_UP_FEN: i64 = 1_000_000;
const AT_ONCE: usize = 24;
const READY: Duration = Duration::from_secs(30);
/// The death of a router is believed after 3 s, not after 5.
const LIVES: &str = r#"
    [epoch]
    renew_every = "500ms"
    refuse_after = "2s"
    ttl = "3s"
    recover_every = "500ms"
"#;

/// The figure.
pub(super) fn figure() -> Figure {
    Figure {
        name: "money-cut-streams",
        claim: "streams cut at random tokens: by client or engine what was sent is billed, by a kill a window less at most",
        kind: Kind::Correctness,
        measure: |stack, tier| Box::pin(measure(stack, tier)),
    }
}

/// Who cuts a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cut {
    Client,
    Engine,
    Router,
}

async fn measure(stack: Stack, tier: Tier) -> anyhow::Result<Reading> {
    let each = if tier == Tier::Quick { 80 } else { 667 };
    let customers = customers(&stack, 4, TOP_UP_FEN).await?;
    let books = Books::of(&stack, &customers)?;
    let wanted = Wanted {
        figure: "money-cut-streams",
        engines: 1,
        routers: 2,
        policy: None,
        limits: Table::new(),
    };
    let lives: Table = LIVES.parse()?;
    let path = ModelPath::start_with(&stack, wanted, &lives).await?;
    let begin = Instant::now();
    let mut all: Vec<(Cut, Taken)> = Vec::new();
    for cut in [Cut::Client, Cut::Engine] {
        let taken = stream::iter(0..each)
            .map(|n| one(&path, &customers, cut, n))
            .buffer_unordered(AT_ONCE)
            .collect::<Vec<_>>();
        for taken in taken.await {
            all.push((cut, taken?));
        }
    }
    let kills = kill_routers(&path, &customers, each, &mut all).await?;
    println!(
        "  {} streams in {:.1?}, {kills} kills of a router",
        all.len(),
        begin.elapsed()
    );
    let took = books.settled(Duration::from_secs(90)).await?;
    println!("  all settled and nothing set aside {took:.1?} after the last");

    let (bills, truth) = (books.bills().await?, path.engines[0].truth().await?);
    let (mut wrong, mut given_away, mut cuts) = (Vec::new(), 0, [0_usize; 3]);
    for (cut, taken) in &all {
        let is_cut = matches!(taken.end, End::Left | End::Broken | End::Hidden);
        cuts[*cut as usize] += usize::from(is_cut);
        match judge(*cut, taken, &bills, &truth) {
            Ok(free) => given_away += free,
            Err(why) => wrong.push(format!("{cut:?} {taken:?}: {why}")),
        }
    }
    check_ledger(&stack, &books, &bills, customers.len(), &mut wrong).await?;
    for line in wrong.iter().take(20) {
        println!("  WRONG: {line}");
    }
    let [client, engine, router] = cuts;
    println!(
        "  cut by the client {client}, by the engine {engine}, by a kill {router}; kills gave away {given_away} tokens in all"
    );
    let enough = client >= each && engine >= each && router >= each;
    Ok(Reading {
        figure: wrong.len().to_string(),
        unit: format!(
            "wrong bills and ends of {} cut streams, {given_away} tokens given away",
            client + engine + router
        ),
        goal: "0".to_owned(),
        holds: wrong.is_empty() && enough,
    })
}

/// A stream that its client or its engine cuts at a random token.
async fn one(path: &ModelPath, customers: &[Journey], cut: Cut, n: usize) -> anyhow::Result<Taken> {
    let mut chance = StdRng::seed_from_u64(n as u64);
    let at = chance.random_range(1..TOKENS / 2);
    let mut script = json!({"tokens": TOKENS, "delay_ms": 10});
    if cut == Cut::Engine {
        script["cut_after"] = at.into();
    }
    let target = target(
        &path.base(),
        &customers[n % customers.len()],
        scripted(script),
    )?;
    Ok(take(&target, (cut == Cut::Client).then_some(at)).await)
}

/// Kills one router after the other in the middle of streams, until so many were cut.
async fn kill_routers(
    path: &ModelPath,
    customers: &[Journey],
    wanted: usize,
    all: &mut Vec<(Cut, Taken)>,
) -> anyhow::Result<usize> {
    let mut chance = StdRng::seed_from_u64(7);
    let (mut kills, mut cut) = (0, 0);
    while cut < wanted {
        anyhow::ensure!(kills < wanted, "{kills} kills cut only {cut} streams");
        let script = json!({"tokens": TOKENS, "delay_ms": 15});
        let targets = customers.iter().cycle().take(AT_ONCE);
        let targets =
            targets.map(|customer| target(&path.base(), customer, scripted(script.clone())));
        let targets = targets.collect::<anyhow::Result<Vec<_>>>()?;
        let streams = join_all(targets.iter().map(|target| take(target, None)));
        let victim = &path.routers[kills % path.routers.len()].process;
        let after = Duration::from_millis(chance.random_range(300..1500));
        let kill = async {
            sleep(after).await;
            victim.kill9();
            victim.start()
        };
        let (taken, started) = tokio::join!(streams, kill);
        started?;
        victim.wait_ready(READY).await?;
        kills += 1;
        cut += taken
            .iter()
            .filter(|taken| matches!(taken.end, End::Broken | End::Hidden))
            .count();
        all.extend(taken.into_iter().map(|taken| (Cut::Router, taken)));
    }
    Ok(kills)
}

/// Compares a bill with what the client took and the engine sent; answers the tokens that were given
/// away.
fn judge(
    cut: Cut,
    taken: &Taken,
    bills: &std::collections::BTreeMap<String, Bill>,
    truth: &Map<String, Value>,
) -> Result<u64, String> {
    let Some(id) = &taken.call_id else {
        // Refused by a router that was being killed.
        let refused = matches!(taken.end, End::Refused(_)) && cut == Cut::Router;
        return refused
            .then_some(0)
            .ok_or_else(|| "it never began".to_owned());
    };
    if taken.end == End::Hidden {
        return Err("it ended as if it were whole".to_owned());
    }
    let bill = bills.get(id).ok_or("there is no bill")?;
    let sent = truth.get(id).and_then(|call| call["tokens_sent"].as_u64());
    let sent = sent.ok_or("the engine does not know it")?;
    let right = match (cut, &taken.end) {
        // To the last token; so too where a stream ended before the kill.
        (_, End::Whole) => bill.output == sent && taken.tokens == sent,
        (Cut::Engine, End::Broken) => bill.output == sent && taken.tokens == sent,
        // What was on its way to the client when it left was sent too.
        (Cut::Client, End::Left) => (taken.tokens..=sent).contains(&bill.output),
        (Cut::Router, End::Broken) => bill.output <= sent && bill.output + WINDOW > taken.tokens,
        _ => false,
    };
    if right {
        Ok(taken.tokens.saturating_sub(bill.output))
    } else {
        Err(format!("{bill:?}, the engine sent {sent}"))
    }
}

/// Everything that was paid is spent or still there, and the ledger sums to zero.
async fn check_ledger(
    stack: &Stack,
    books: &Books,
    bills: &std::collections::BTreeMap<String, Bill>,
    customers: usize,
    wrong: &mut Vec<String>,
) -> anyhow::Result<()> {
    let spent: i64 = bills.values().map(|bill| bill.nanos).sum();
    let paid = i64::try_from(customers)? * TOP_UP_FEN * 10_000_000;
    let (available, leased) = books.balance().await?;
    if available + leased + spent != paid {
        wrong.push(format!(
            "{paid} paid, {spent} spent, {available} left, {leased} set aside"
        ));
    }
    let (sum, _) = ledger_sum(stack).await?;
    if sum != "0" {
        wrong.push(format!("the ledger sums to {sum}"));
    }
    Ok(())
}
