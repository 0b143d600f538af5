//! Every place on the way of money before and after which a process can end: it ends exactly there, and
//! what it leaves behind is as if nothing had happened.

use std::{fs, time::Duration};

use futures::future::join_all;
use serde_json::json;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};
use wanwu_crash::{LAST_WORDS, VARIABLE};

use super::{
    Figure, Kind, Reading, Tier,
    customers::{customers, scripted},
    money_kill_loop::revive,
    paid_orders::{Channel, Payments, TOP_UP_FEN},
    paid_streams::{Books, Taken, take, target},
};
use crate::{
    journey::Journey,
    stack::{Process, ProcessSpec, Stack},
};

/// How long a point may take to be reached.
const REACHED: Duration = Duration::from_secs(30);
/// So long after a call another one is made, where the point was not reached: an idle lease, which is the last
/// thing that a call leaves behind, is back by then.
const AGAIN: Duration = Duration::from_secs(4);
const READY: Duration = Duration::from_secs(30);
const SETTLED: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(20);
/// Lives of routers whose deaths are soon believed, where recovery is what is waited for: the way is the same.
const SHORT_LIVES: [(&str, &str); 4] = [
    ("INFERENCE_ROUTING__EPOCH__RENEW_EVERY", "250ms"),
    ("INFERENCE_ROUTING__EPOCH__REFUSE_AFTER", "1s"),
    ("INFERENCE_ROUTING__EPOCH__TTL", "1500ms"),
    ("INFERENCE_ROUTING__EPOCH__RECOVER_EVERY", "250ms"),
];

/// The figure.
pub(super) fn figure() -> Figure {
    Figure {
        name: "money-crash-points",
        claim: "a process ends before and after each commit, publish, confirm, ack and answer on the money path: exact",
        kind: Kind::Correctness,
        measure: |stack, tier| Box::pin(measure(stack, tier)),
    }
}

/// What makes a point be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Traffic {
    /// An order, paid at WeChat Pay.
    Order,
    /// One that is paid at Alipay too: a payment goes back.
    Twice,
    /// A bank transfer, declared and found in the statement.
    Transfer,
    /// A paid call.
    Call,
    /// Calls that hold more than is lent: what is not held of a lease goes back. A router whose billing
    /// was away first asks anew which lease pays for which call.
    Short,
    /// A router dies in the middle of a paid call.
    Cut,
}

/// All of them. A test compares them with those in the sources.
const POINTS: [(&str, &str, Traffic); 43] = [
    ("billing", "order.before_commit", Traffic::Order),
    ("billing", "order.committed", Traffic::Order),
    ("billing", "channel.offered", Traffic::Order),
    ("billing", "channel.before_commit", Traffic::Order),
    ("billing", "channel.committed", Traffic::Order),
    ("billing", "order.before_answer", Traffic::Order),
    ("billing", "payment.before_commit", Traffic::Order),
    ("billing", "payment.committed", Traffic::Order),
    ("billing", "relay.leased", Traffic::Order),
    ("billing", "relay.published", Traffic::Order),
    ("billing", "relay.confirmed", Traffic::Order),
    ("billing", "relay.marked", Traffic::Order),
    ("billing", "bank_transfer.before_commit", Traffic::Transfer),
    ("billing", "bank_transfer.committed", Traffic::Transfer),
    ("billing", "bank_statement.before_commit", Traffic::Transfer),
    ("billing", "bank_statement.committed", Traffic::Transfer),
    ("billing", "bank_match.before_commit", Traffic::Transfer),
    ("billing", "bank_match.committed", Traffic::Transfer),
    ("billing", "lease_reduce.before_commit", Traffic::Short),
    ("billing", "lease_reduce.committed", Traffic::Short),
    ("billing", "lease.before_commit", Traffic::Call),
    ("billing", "lease.committed", Traffic::Call),
    ("billing", "consumer.before_commit", Traffic::Call),
    ("billing", "consumer.committed", Traffic::Call),
    ("billing", "consumer.acknowledged", Traffic::Call),
    ("billing", "refund_attempt.before_commit", Traffic::Twice),
    ("billing", "refund_attempt.committed", Traffic::Twice),
    ("billing", "refund.answered", Traffic::Twice),
    ("billing", "refund.before_commit", Traffic::Twice),
    ("billing", "refund.committed", Traffic::Twice),
    ("billing", "lease_close.before_commit", Traffic::Call),
    ("billing", "lease_close.committed", Traffic::Call),
    ("inference-routing", "dispatch.before_commit", Traffic::Call),
    ("inference-routing", "dispatch.committed", Traffic::Call),
    ("inference-routing", "progress.committed", Traffic::Call),
    ("inference-routing", "final.before_commit", Traffic::Call),
    ("inference-routing", "final.committed", Traffic::Call),
    ("inference-routing", "relay.leased", Traffic::Call),
    ("inference-routing", "relay.published", Traffic::Call),
    ("inference-routing", "relay.confirmed", Traffic::Call),
    ("inference-routing", "relay.marked", Traffic::Call),
    ("inference-routing", "recovery.before_commit", Traffic::Cut),
    ("inference-routing", "recovery.committed", Traffic::Cut),
];

async fn measure(stack: Stack, tier: Tier) -> anyhow::Result<Reading> {
    let times = if tier == Tier::Quick { 1 } else { 20 };
    let (mut wrong, mut missed, mut reached) = (0, Vec::new(), 0);
    for time in 1..=times {
        let begin = Instant::now();
        let customers = customers(&stack, 3, TOP_UP_FEN).await?;
        let round = Round {
            books: Books::of(&stack, &customers)?,
            payments: std::sync::Arc::new(Payments::new(&stack).await?),
            stack: &stack,
            customers,
        };
        let (passed, taken) = round.points().await?;
        reached += POINTS.len() - passed.len();
        missed.extend(passed);
        let (payments, books) = (&round.payments, &round.books);
        let settled = payments
            .settled(&round.customers, books, SETTLED * 2)
            .await?;
        let mut found = payments.check(&round.customers, books).await?;
        found
            .check_calls(&stack, books, &round.customers[0], &taken)
            .await?;
        if settled > SETTLED {
            found.not_credited += 1;
            found
                .lines
                .push(format!("settled only after {settled:.1?}"));
        }
        println!(
            "  round {time}: settled after {settled:.1?}, {:.1?} in all",
            begin.elapsed()
        );
        found.print();
        wrong += found.all();
    }
    for point in &missed {
        println!("  NOT REACHED: {point}");
    }
    let all = POINTS.len() * times;
    Ok(Reading {
        figure: wrong.to_string(),
        unit: format!("wrong, {reached} of {all} points reached"),
        goal: format!("0, {all} points"),
        holds: wrong == 0 && missed.is_empty(),
    })
}

/// Each point once.
struct Round<'a> {
    stack: &'a Stack,
    customers: Vec<Journey>,
    books: Books,
    payments: std::sync::Arc<Payments>,
}

impl Round<'_> {
    /// Answers the points that were not reached, and the calls that were made.
    async fn points(&self) -> anyhow::Result<(Vec<String>, Vec<Taken>)> {
        let (mut missed, mut traffic) = (Vec::new(), JoinSet::new());
        for (number, (service, point, kind)) in POINTS.into_iter().enumerate() {
            let usual = self.stack.process(service);
            let told = told(&usual, point, kind);
            let before = words(&usual, point);
            if kind == Traffic::Cut {
                let dies = short_lived(&usual);
                dies.kill9();
                dies.start()?;
                dies.wait_ready(READY).await?;
                self.begin(Traffic::Call, number, &mut traffic)?;
                sleep(Duration::from_millis(500)).await;
            }
            usual.kill9();
            told.start()?;
            // It may be reached before the process is ready, by what it finds.
            let is_there = told.wait_ready(READY).await.is_ok();
            if is_there && kind != Traffic::Cut {
                self.begin(kind, number, &mut traffic)?;
            }
            let begin = Instant::now();
            let mut again = AGAIN;
            while told.is_alive() && begin.elapsed() < REACHED {
                sleep(LOOK).await;
                // A call that was refused, for whoever was away just then, reaches nothing.
                if kind == Traffic::Call && begin.elapsed() > again {
                    self.begin(kind, number, &mut traffic)?;
                    again += AGAIN;
                }
            }
            if words(&usual, point) == before {
                missed.push(format!("{service} {point}"));
            }
            let next = POINTS.get(number + 1).map(|(service, ..)| *service);
            if next != Some(service) {
                told.kill9();
                usual.start()?;
                usual.wait_ready(READY).await?;
            }
        }
        revive(self.stack).await?;
        let mut calls = Vec::new();
        while let Some(ended) = traffic.join_next().await {
            calls.extend(ended??);
        }
        self.payments.import(1).await?;
        Ok((missed, calls))
    }

    /// Begins what reaches a point; it goes on until it is answered, whoever ends meanwhile.
    fn begin(
        &self,
        kind: Traffic,
        number: usize,
        traffic: &mut JoinSet<anyhow::Result<Vec<Taken>>>,
    ) -> anyhow::Result<()> {
        let customer = self.customers[number % self.customers.len()].clone();
        let payments = std::sync::Arc::clone(&self.payments);
        let fen = i64::try_from(number)? + 1;
        let small = scripted(json!({"tokens": 80, "delay_ms": 10}));
        let long = scripted(json!({"tokens": 1200, "delay_ms": 10}));
        let mut large = scripted(json!({"tokens": 4, "delay_ms": 700}));
        large["n"] = 128.into();
        large["max_tokens"] = 4096.into();
        let way = |body| target(customer.api().base(), &customer, body);
        let (small, long, large) = (way(small)?, way(long)?, way(large)?);
        #[allow(clippy::disallowed_methods, reason = "it ends with the round")]
        traffic.spawn(async move {
            match kind {
                Traffic::Order => payments.pay(&customer, Channel::Wechat, fen).await?,
                Traffic::Twice => payments.pay_twice(&customer, fen).await?,
                Traffic::Transfer => {
                    payments.pay(&customer, Channel::Bank, fen).await?;
                    payments.import(1).await?;
                }
                Traffic::Short => {
                    let later = |millis, target| async move {
                        sleep(Duration::from_millis(millis)).await;
                        take(target, None).await
                    };
                    // Four at a time hold more than two leases have; a router that did not know
                    // then has a large one and gets another ahead, which so many at once are too many for.
                    let times = (1000..1400).step_by(100).chain([5000; 110]);
                    let large = join_all(times.map(|millis| later(millis, &large)));
                    let (long, mut calls) = tokio::join!(take(&long, None), large);
                    calls.push(long);
                    return Ok(calls);
                }
                Traffic::Call | Traffic::Cut => return Ok(vec![take(&small, None).await]),
            }
            Ok(Vec::new())
        });
        Ok(())
    }
}

/// The process, told to end at a point.
fn told(usual: &Process, point: &str, kind: Traffic) -> Process {
    let process = match kind {
        Traffic::Cut => short_lived(usual),
        _ => usual.clone(),
    };
    let mut spec = process.spec().clone();
    spec.env.insert(VARIABLE.to_owned(), point.to_owned());
    Process::new(spec)
}

/// The process, with [`SHORT_LIVES`].
fn short_lived(usual: &Process) -> Process {
    let mut spec: ProcessSpec = usual.spec().clone();
    let lives = SHORT_LIVES.map(|(name, value)| (name.to_owned(), value.to_owned()));
    spec.env.extend(lives);
    Process::new(spec)
}

/// How often the process's log says that it ended there.
fn words(process: &Process, point: &str) -> usize {
    let log = fs::read(&process.spec().log).unwrap_or_default();
    let words = format!("{LAST_WORDS} {point}\n");
    String::from_utf8_lossy(&log).matches(&words).count()
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, path::Path};

    use super::*;

    fn read(folder: &Path, points: &mut BTreeSet<String>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                read(&path, points);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                let named = text.split("wanwu_crash::point(\"").skip(1);
                points.extend(named.filter_map(|rest| Some(rest.split_once('"')?.0.to_owned())));
            }
        }
    }

    #[test]
    fn the_list_has_every_point_of_the_sources() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let mut points = BTreeSet::new();
        for folder in [
            "libs/events/src",
            "services/billing/src",
            "services/inference-routing/src",
        ] {
            read(&root.join(folder), &mut points);
        }
        let listed: BTreeSet<_> = POINTS
            .iter()
            .map(|(_, point, _)| (*point).to_owned())
            .collect();
        assert_eq!(listed, points);
    }
}
