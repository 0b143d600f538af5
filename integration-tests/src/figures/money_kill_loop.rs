//! Orders paid on three channels and paid calls, while services, the broker and the database are killed
//! at random. What the providers wrote down is the oracle.

use std::{
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    time::Duration,
};

use futures::future::join_all;
use rand::{
    Rng, SeedableRng,
    rngs::StdRng,
    seq::{IndexedRandom, SliceRandom},
};
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::{
    Figure, Kind, Reading, Tier,
    customers::{customers, scripted},
    paid_orders::{Channel, Payments, TOP_UP_FEN, Wrong},
    paid_streams::{Books, End, Taken, take, target},
};
use crate::{journey::Journey, stack::Stack};

/// Customers and calls at a time.
const CUSTOMERS: usize = 6;
const CALLERS: usize = 4;
/// Orders that are made and paid at a time.
const PAYERS: usize = 12;
/// Lines of one statement of the bank, at least.
const STATEMENT: usize = 20;
const SETTLED: Duration = Duration::from_secs(60);
/// Services that are killed at once, at most.
const TOGETHER: usize = SERVICES.len();
/// The services that are killed, and how often beside each other: those that hold money more often.
const SERVICES: [(&str, f64); 7] = [
    ("billing", 3.0),
    ("inference-routing", 2.0),
    ("edge", 1.0),
    ("identity", 1.0),
    ("privacy", 1.0),
    ("verification", 1.0),
    ("device-registry", 1.0),
];

/// The figure.
pub(super) fn figure() -> Figure {
    Figure {
        name: "money-kill-loop",
        claim: "orders on three channels and calls under random kills of services, broker, database: exact",
        kind: Kind::Correctness,
        measure: |stack, tier| Box::pin(measure(stack, tier)),
    }
}

/// One part of the loop. Sessions last ten minutes: each part has customers of its own.
#[derive(Clone, Copy)]
struct Part {
    orders: usize,
    /// Kills of services, of the broker, of the database.
    services: usize,
    broker: usize,
    database: usize,
}

impl Part {
    /// In the quick form one, of each kind of kills some; in the full form twenty.
    const fn of(tier: Tier) -> (u64, Self) {
        match tier {
            Tier::Quick => {
                let part = Self {
                    orders: 1000,
                    services: 24,
                    broker: 1,
                    database: 1,
                };
                (1, part)
            }
            Tier::Full => {
                let part = Self {
                    orders: 2500,
                    services: 50,
                    broker: 3,
                    database: 3,
                };
                (20, part)
            }
        }
    }

    const fn kills(self) -> usize {
        self.services + self.broker + self.database
    }
}

/// What happened.
#[derive(Clone, Copy, Default)]
struct Done {
    orders: usize,
    kills: usize,
    calls: usize,
    whole: usize,
}

async fn measure(stack: Stack, tier: Tier) -> anyhow::Result<Reading> {
    let (parts, part) = Part::of(tier);
    let (mut all, mut wrong, mut slowest) = (Done::default(), Wrong::default(), Duration::ZERO);
    for number in 0..parts {
        let begin = Instant::now();
        let (done, found, settled) = one_part(&stack, part, number).await?;
        all.orders += done.orders;
        all.kills += done.kills;
        all.calls += done.calls;
        all.whole += done.whole;
        slowest = slowest.max(settled);
        wrong.add(found);
        println!(
            "  part {}: {} orders, {} kills, {} calls of which {} whole, settled {settled:.1?} after the last kill, {:.1?} in all",
            number + 1,
            done.orders,
            done.kills,
            done.calls,
            done.whole,
            begin.elapsed()
        );
    }
    wrong.print();
    Ok(Reading {
        figure: wrong.all().to_string(),
        unit: format!(
            "wrong of {} orders and {} calls with {} kills, settled after {slowest:.1?} at most",
            all.orders, all.calls, all.kills
        ),
        goal: "0, settled within 60 s".to_owned(),
        holds: wrong.all() == 0 && slowest <= SETTLED && all.whole > 0,
    })
}

async fn one_part(
    stack: &Stack,
    part: Part,
    number: u64,
) -> anyhow::Result<(Done, Wrong, Duration)> {
    let customers = customers(stack, CUSTOMERS, TOP_UP_FEN).await?;
    let books = Books::of(stack, &customers)?;
    let payments = Payments::new(stack).await?;
    let (killing, next) = (AtomicBool::new(true), AtomicUsize::new(0));
    let goes_on = || killing.load(Ordering::Relaxed) || next.load(Ordering::Relaxed) < part.orders;
    let payers = join_all((0..PAYERS).map(|_| async {
        while goes_on() {
            let n = next.fetch_add(1, Ordering::Relaxed);
            let customer = &customers[n % customers.len()];
            let fen = i64::try_from(n % 97)? + 1;
            payments.pay(customer, Channel::of(n), fen).await?;
        }
        anyhow::Ok(())
    }));
    let importing = async {
        while goes_on() {
            payments.import(STATEMENT).await?;
            sleep(Duration::from_millis(200)).await;
        }
        anyhow::Ok(())
    };
    let callers = join_all((0..CALLERS).map(|n| call(&customers[n % customers.len()], &goes_on)));
    let killer = async {
        let killed = kill(stack, part, number).await;
        killing.store(false, Ordering::Relaxed);
        killed
    };
    let (paid, imported, calls, killed) = tokio::join!(payers, importing, callers, killer);
    killed?;
    paid.into_iter().collect::<anyhow::Result<Vec<()>>>()?;
    imported?;
    payments.import(1).await?;
    let from = Instant::now();
    let calls = calls
        .into_iter()
        .collect::<anyhow::Result<Vec<_>>>()?
        .concat();
    let whole = calls.iter().filter(|call| call.end == End::Whole).count();
    let done = Done {
        orders: payments.count(),
        kills: part.kills(),
        calls: calls.iter().filter(|call| call.call_id.is_some()).count(),
        whole,
    };
    payments.settled(&customers, &books, SETTLED * 3).await?;
    let settled = from.elapsed();
    let mut wrong = payments.check(&customers, &books).await?;
    wrong
        .check_calls(stack, &books, &customers[0], &calls)
        .await?;
    Ok((done, wrong, settled))
}

/// Calls again and again; answers how each ended.
async fn call(customer: &Journey, goes_on: &impl Fn() -> bool) -> anyhow::Result<Vec<Taken>> {
    let body = scripted(json!({"tokens": 30, "delay_ms": 10}));
    let target = target(customer.api().base(), customer, body)?;
    let mut calls = Vec::new();
    while goes_on() {
        calls.push(take(&target, None).await);
        sleep(Duration::from_millis(100)).await;
    }
    Ok(calls)
}

/// Kills services, some together, the broker and the database, each when all are back.
async fn kill(stack: &Stack, part: Part, seed: u64) -> anyhow::Result<()> {
    let mut chance = StdRng::seed_from_u64(seed);
    let mut left = part.services;
    let mut victims = vec![vec!["rabbitmq"]; part.broker];
    victims.extend(vec![vec!["postgres"]; part.database]);
    while left > 0 {
        let together = chance.random_range(1..=TOGETHER).min(left);
        let mut services: Vec<&str> = SERVICES
            .choose_multiple_weighted(&mut chance, together, |(_, weight)| *weight)?
            .map(|(name, _)| *name)
            .collect();
        services.sort_unstable();
        left -= services.len();
        victims.push(services);
    }
    victims.shuffle(&mut chance);
    for victims in victims {
        sleep(Duration::from_millis(chance.random_range(100..600))).await;
        let processes: Vec<_> = victims.iter().map(|name| stack.process(name)).collect();
        processes.iter().for_each(|process| process.kill9());
        for process in &processes {
            process.start()?;
        }
        for process in &processes {
            process.wait_ready(Duration::from_secs(60)).await?;
        }
        revive(stack).await?;
    }
    Ok(())
}

/// A process that rightly gave up meanwhile is started again, as Kubernetes would.
pub(super) async fn revive(stack: &Stack) -> anyhow::Result<()> {
    for process in stack.processes() {
        if !process.is_alive() {
            process.start()?;
            process.wait_ready(Duration::from_secs(60)).await?;
        }
    }
    Ok(())
}
