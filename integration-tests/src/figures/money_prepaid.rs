//! Many streams on a balance that pays for few, over several routers, while routers are killed and
//! stopped and the broker is away: nothing is overspent, nothing is refused that could be paid, and
//! nothing stays set aside.

use std::{
    future::Future,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use futures::future::join_all;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use toml::Table;

use super::{
    Figure, Kind, Reading, Tier,
    customers::{customers, scripted},
    model_path::{ModelPath, Wanted},
    paid_streams::{Books, End, Taken, take, target},
};
use crate::{journey::ledger_sum, load::Target, stack::Stack};

const STREAMS: usize = 200;
/// Streams of a round in which there is credit for each.
const SPREAD: u32 = 7;
/// Credit for ten streams of [`TOKENS`], and less than eleven highest costs.
const TOP_UP_FEN: i64 = 1;
const PAID: i64 = TOP_UP_FEN * 10_000_000;
const TOKENS: u64 = 600;
/// So that streams last while others come and processes end.
const BETWEEN_TOKENS: Duration = Duration::from_millis(5);
/// Routers stand still for longer than leases and epochs live, and the broker is away for as long.
const AWAY: Duration = Duration::from_secs(5);
/// Leases and epochs of the routers. A lease lies idle for longer than a client waits before it asks again: what
/// another router needs meanwhile has to be recalled.
const LIVES: &str = r#"
    [leases]
    expiry = "3s"
    idle = "2s"
    [epoch]
    renew_every = "500ms"
    refuse_after = "2s"
    ttl = "3s"
    recover_every = "500ms"
"#;
const READY: Duration = Duration::from_secs(60);
const SETTLED: Duration = Duration::from_secs(60);
/// A client that is refused asks once more after so long.
const AGAIN: Duration = Duration::from_secs(1);

/// The figure.
pub(super) fn figure() -> Figure {
    Figure {
        name: "money-prepaid",
        claim: "200 streams over 3 routers on credit for 10, with kills, stops and no broker: overspent 0, refused wrongly 0",
        kind: Kind::Correctness,
        measure: |stack, tier| Box::pin(measure(stack, tier)),
    }
}

/// One try of one client.
struct Try {
    asked: Instant,
    ended: Instant,
    taken: Taken,
}

/// What was counted.
#[derive(Default)]
struct Counted {
    served: usize,
    cut: usize,
    refused: usize,
    wrong: Vec<String>,
}

async fn measure(stack: Stack, tier: Tier) -> anyhow::Result<Reading> {
    let rounds = if tier == Tier::Quick { 1 } else { 10 };
    let wanted = Wanted {
        figure: "money-prepaid",
        engines: 1,
        routers: 3,
        policy: None,
        limits: Table::new(),
    };
    let lives: Table = LIVES.parse()?;
    let path = ModelPath::start_with(&stack, wanted, &lives).await?;
    let mut all = Counted::default();
    for number in 1..=rounds {
        // Beside each other: each has a customer of its own, and nothing is killed.
        let calm = tokio::try_join!(
            shown(&stack, &path, number, Round::Spread),
            shown(&stack, &path, number, Round::Calm),
        )?;
        let disturbed = shown(&stack, &path, number, Round::Disturbed).await?;
        for counted in [calm.0, calm.1, disturbed] {
            all.served += counted.served;
            all.wrong.extend(counted.wrong);
        }
    }
    let (sum, _) = ledger_sum(&stack).await?;
    if sum != "0" {
        all.wrong.push(format!("the ledger sums to {sum}"));
    }
    for line in all.wrong.iter().take(20) {
        println!("  WRONG: {line}");
    }
    Ok(Reading {
        figure: all.wrong.len().to_string(),
        unit: "times overspent, below zero, refused wrongly or frozen".to_owned(),
        goal: "0".to_owned(),
        holds: all.wrong.is_empty() && all.served > 0,
    })
}

/// What a round is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Round {
    /// A few, one after the other, while the first still runs.
    Spread,
    /// All at once.
    Calm,
    /// All at once, again and again, while processes are killed and stopped.
    Disturbed,
}

/// One round, and a line about it.
async fn shown(
    stack: &Stack,
    path: &ModelPath,
    number: usize,
    round: Round,
) -> anyhow::Result<Counted> {
    let begin = Instant::now();
    let counted = one_round(stack, path, round).await?;
    println!(
        "  {number} {round:?}: {} answered, {} cut, {} refused, {} wrong, {:.1?}",
        counted.served,
        counted.cut,
        counted.refused,
        counted.wrong.len(),
        begin.elapsed()
    );
    Ok(counted)
}

async fn one_round(stack: &Stack, path: &ModelPath, round: Round) -> anyhow::Result<Counted> {
    let customer = customers(stack, 1, TOP_UP_FEN).await?;
    let books = Books::of(stack, &customer)?;
    let to_model = |delay: Duration| target(&path.base(), &customer[0], body(delay));
    let target = to_model(BETWEEN_TOKENS)?;
    let (begin, over) = (Instant::now(), AtomicBool::new(false));
    let clients = async {
        match round {
            Round::Spread => {
                let one_after_the_other = (0..SPREAD).map(|n| client(&target, n, begin));
                join_all(one_after_the_other).await
            }
            Round::Calm => join_all((0..STREAMS).map(|_| client(&target, 0, begin))).await,
            Round::Disturbed => join_all((0..STREAMS).map(|_| stubborn(&target, &over))).await,
        }
    };
    let disturbing = async {
        let disturbed = match round {
            Round::Disturbed => disturb(stack, path).await,
            Round::Spread | Round::Calm => Ok(()),
        };
        over.store(true, Ordering::Relaxed);
        disturbed
    };
    let under_way = async { tokio::join!(clients, disturbing) };
    let (lowest, (clients, disturbed)) = watched(&books, under_way).await;
    disturbed?;
    let mut counted = Counted::default();
    if lowest < 0 {
        counted.wrong.push(format!("{lowest} were available"));
    }
    books.settled(SETTLED).await?;
    check(&books, &clients, round, &mut counted).await?;
    // Nothing is frozen: what is left is lent to whoever asks, to the last call that it covers.
    spend_the_rest(&books, &to_model(Duration::ZERO)?, &mut counted).await?;
    Ok(counted)
}

fn body(delay: Duration) -> Value {
    let delay = u64::try_from(delay.as_millis()).unwrap_or_default();
    let mut body = scripted(json!({"tokens": TOKENS, "delay_ms": delay}));
    body["max_tokens"] = TOKENS.into();
    body
}

/// One call, and once more where it is refused for want of credit.
async fn client(target: &Target, n: u32, begin: Instant) -> Vec<Try> {
    tokio::time::sleep_until(begin + Duration::from_millis(300) * n).await;
    let first = attempt(target).await;
    let again = is_poor(&first.taken);
    let mut tries = vec![first];
    if again {
        sleep(AGAIN).await;
        tries.push(attempt(target).await);
    }
    tries
}

/// Calls until it is over.
async fn stubborn(target: &Target, over: &AtomicBool) -> Vec<Try> {
    let mut tries = Vec::new();
    while !over.load(Ordering::Relaxed) {
        let tried = attempt(target).await;
        let refused = matches!(tried.taken.end, End::Refused(_));
        tries.push(tried);
        if refused {
            sleep(AGAIN).await;
        }
    }
    tries
}

async fn attempt(target: &Target) -> Try {
    let asked = Instant::now();
    let taken = take(target, None).await;
    let ended = Instant::now();
    Try {
        asked,
        ended,
        taken,
    }
}

/// Refused because the credit does not cover it.
fn is_poor(taken: &Taken) -> bool {
    matches!(&taken.end, End::Refused(why) if why.contains("insufficient_quota"))
}

/// What was available at the least while something went on.
async fn watched<T>(books: &Books, under_way: impl Future<Output = T>) -> (i64, T) {
    let mut under_way = std::pin::pin!(under_way);
    let mut lowest = i64::MAX;
    loop {
        tokio::select! {
            done = &mut under_way => return (lowest, done),
            () = sleep(Duration::from_millis(50)) => {
                if let Ok((available, _)) = books.balance().await {
                    lowest = lowest.min(available);
                }
            }
        }
    }
}

/// One router is killed, another stands still for longer than its leases and its life last, and the
/// broker is away for as long; then all are back.
async fn disturb(stack: &Stack, path: &ModelPath) -> anyhow::Result<()> {
    let [killed, stopped, _] = &path.routers[..] else {
        anyhow::bail!("three routers are wanted");
    };
    sleep(Duration::from_millis(1500)).await;
    let broker = stack.process("rabbitmq");
    broker.kill9();
    killed.process.kill9();
    stopped.process.stop();
    killed.process.start()?;
    sleep(AWAY).await;
    stopped.process.cont();
    broker.start()?;
    // The one that stood still finds itself fenced, ends, and is started again as Kubernetes would.
    let begin = Instant::now();
    while stopped.process.is_alive() && begin.elapsed() < Duration::from_secs(8) {
        sleep(Duration::from_millis(50)).await;
    }
    if !stopped.process.is_alive() {
        stopped.process.start()?;
    }
    for process in [&stopped.process, &killed.process, &broker] {
        process.wait_ready(READY).await?;
    }
    Ok(())
}

/// Compares what was billed with what was paid, and each refusal with what was left.
async fn check(
    books: &Books,
    clients: &[Vec<Try>],
    round: Round,
    counted: &mut Counted,
) -> anyhow::Result<()> {
    let bills = books.bills().await?;
    let spent: i64 = bills.values().map(|bill| bill.nanos).sum();
    let (available, leased) = books.balance().await?;
    if spent > PAID || available + leased + spent != PAID {
        let line = format!("{PAID} paid, {spent} spent, {available} left, {leased} set aside");
        counted.wrong.push(line);
    }
    let hold = books.highest_hold().await?;
    let tries: Vec<&Try> = clients.iter().flatten().collect();
    for tried in &tries {
        match tried.taken.end {
            End::Whole => counted.served += 1,
            End::Broken | End::Hidden | End::Left => counted.cut += 1,
            End::Refused(_) => counted.refused += 1,
        }
        if tried.taken.end == End::Whole {
            let bill = tried.taken.call_id.as_ref().and_then(|id| bills.get(id));
            if bill.is_none_or(|bill| bill.output != tried.taken.tokens) {
                let line = format!("{:?} is billed {bill:?}", tried.taken);
                counted.wrong.push(line);
            }
        }
    }
    if round == Round::Disturbed {
        // What dead replicas held is no one's until their lives are settled: nobody can say here
        // what was left. That it comes back is seen after.
        return Ok(());
    }
    let held = |of: &Try| {
        let over = tries
            .iter()
            .filter(|other| other.taken.call_id.is_some() && other.asked < of.ended);
        over.map(|other| match other.ended <= of.asked {
            true => {
                let id = other.taken.call_id.as_ref();
                id.and_then(|id| bills.get(id)).map_or(0, |bill| bill.nanos)
            }
            false => hold,
        })
        .sum::<i64>()
    };
    for tries in clients {
        let covered = |tried: &Try| is_poor(&tried.taken) && PAID - held(tried) >= hold;
        if let [first, again] = &tries[..]
            && covered(first)
            && covered(again)
        {
            let left = PAID - held(again);
            counted
                .wrong
                .push(format!("refused twice with {left} left, {hold} needed"));
        }
    }
    Ok(())
}

/// Calls one after the other until the credit is too little, whichever router still has some of it; refused
/// earlier, something is frozen. In the end nothing is set aside.
async fn spend_the_rest(
    books: &Books,
    target: &Target,
    counted: &mut Counted,
) -> anyhow::Result<()> {
    let hold = books.highest_hold().await?;
    loop {
        let (available, leased) = books.balance().await?;
        if available + leased < hold {
            break;
        }
        let tries = client(target, 0, Instant::now()).await;
        if tries.last().is_none_or(|last| last.taken.end != End::Whole) {
            let said: Vec<_> = tries.iter().map(|tried| &tried.taken.end).collect();
            let line = format!("{available} and {leased} left, {hold} needed: {said:?}");
            counted.wrong.push(line);
            break;
        }
        counted.served += 1;
        books.billed(SETTLED).await?;
    }
    books.settled(SETTLED).await?;
    Ok(())
}
