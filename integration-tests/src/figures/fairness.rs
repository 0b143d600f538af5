//! One account sends fifty times the load of each of nine others, to places that are fewer than what
//! it sends, the router's own and then those of an engine that refuses what is more: what the nine get beside
//! what they get alone, and how even the shares are when all ten want more than there is. Calls come evenly, and
//! with `--full` as in a trace too (see [`super::arrivals`]).

use std::{sync::Arc, time::Duration};

use anyhow::ensure;
use bytes::Bytes;
use futures::future::join_all;
use serde_json::json;
use tokio::time::sleep;
use toml::Table;

use super::{
    Figure, Kind, Reading, Tier,
    arrivals::Arrivals,
    customers::{customers, scripted},
    full::Full,
    model_path::{Load, ModelPath, Seen, Shot, Wanted, send_each},
};
use crate::{
    journey::Journey,
    load::{Target, quantile},
    stack::Stack,
};

/// Accounts that send a little.
const NINE: usize = 9;
/// Calls that run at a time. Each takes 200 ms: 40 calls a second, which is little for the machine.
const PLACES: u32 = 8;
/// Places of the router where the engine has no more than [`PLACES`].
const WIDER: u32 = 8 * PLACES;
const TOKEN_MS: u64 = 20;
const TOKENS: u64 = 10;
/// What each of the nine sends, less than half of its share.
const RATE: f64 = 2.0;
/// How many times that the other one sends.
const TIMES: f64 = 50.0;
/// What each of the nine must keep, in per cent.
const KEEP: f64 = 95.0;
/// Jain's index of ten that all want more.
const EVEN: f64 = 0.95;
/// Clients of each account, when all want more: of the nine, and of the other.
const CLIENTS: [usize; 2] = [4, 40];
/// Routers in the full form, and the questions of each account that spread it over them.
const ROUTERS: usize = 2;
const QUESTIONS: usize = 64;
const TOP_UP_FEN: i64 = 1_000_000;

/// The figure.
pub(super) fn figure() -> Figure {
    Figure {
        name: "fairness",
        claim: "what each of nine accounts keeps at least beside one that sends 50 times as much, where the router's places and where an engine's are the bound; Jain's index of tokens served",
        kind: Kind::Correctness,
        measure: |stack, tier| Box::pin(measure(stack, tier)),
    }
}

async fn measure(stack: Stack, tier: Tier) -> anyhow::Result<Reading> {
    let long = match tier {
        Tier::Quick => Duration::from_secs(3),
        Tier::Full => Duration::from_secs(60),
    };
    let arrivals = match tier {
        Tier::Quick => None,
        Tier::Full => Some(Arrivals::real()?),
    };
    let accounts = customers(&stack, NINE + 1, TOP_UP_FEN).await?;
    println!(
        "  {PLACES} places; each of the nine sends {RATE} calls a second, the other {TIMES} times that"
    );
    let path = path_with(&stack, 1, Full::Router, tier).await?;
    let of_each = of_each_account(&path, &accounts, 1)?;
    let mut kept = show_kept(&of_each, 1, None, long).await?;
    if arrivals.is_some() {
        kept = kept.min(show_kept(&of_each, 1, arrivals.as_ref(), long).await?);
    }
    let mut even = show_evenness(&all_want_more(of_each, long).await, 1);
    drop(path);
    if let Tier::Full = tier {
        // Each router has turns of its own; what is asked spreads each account over both.
        let path = path_with(&stack, ROUTERS, Full::Router, tier).await?;
        let of_each = of_each_account(&path, &accounts, QUESTIONS)?;
        kept = kept.min(show_kept(&of_each, ROUTERS, None, long).await?);
        even = even.min(show_evenness(&all_want_more(of_each, long).await, ROUTERS));
    }
    let path = path_with(&stack, 1, Full::Engine, tier).await?;
    let of_each = of_each_account(&path, &accounts, 1)?;
    let of_engine = show_kept(&of_each, 1, None, long).await?;
    if let Tier::Full = tier {
        even = even.min(show_evenness(&all_want_more(of_each, long).await, 1));
    }
    Ok(Reading {
        figure: format!("{kept:.1} and {of_engine:.1} / {even:.3}"),
        unit: "% kept by each of nine at least beside one with 50 times their load, where the router's places and where the engine's are the bound / Jain's index of tokens when all want more"
            .to_owned(),
        goal: format!(">= {KEEP} each / {EVEN}"),
        holds: kept.min(of_engine) >= KEEP && even >= EVEN,
    })
}

/// An engine behind so many routers, which have few places, or it has.
async fn path_with(
    stack: &Stack,
    routers: usize,
    full: Full,
    tier: Tier,
) -> anyhow::Result<ModelPath> {
    let wanted = Wanted {
        figure: "fairness",
        engines: 1,
        routers,
        policy: None,
        limits: Table::new(),
    };
    let mut chat = Table::new();
    chat.insert("max_running".to_owned(), full.places(PLACES, WIDER).into());
    // Nobody is refused because others wait: of one account a quarter may.
    chat.insert("max_waiting".to_owned(), 160.into());
    if tier == Tier::Quick {
        // Twice what the nine wait where all want more; what the other one sends beyond its share is refused then.
        chat.insert("queue_timeout".to_owned(), "2500ms".into());
    }
    let sections = Table::from_iter([("chat".to_owned(), chat.into())]);
    let path = ModelPath::start_with(stack, wanted, &sections).await?;
    if full == Full::Engine {
        path.engines[0].make_room(PLACES).await?;
    }
    println!("  the {} has the places:", full.name());
    Ok(path)
}

/// What each account asks: so many questions.
fn of_each_account(
    path: &ModelPath,
    accounts: &[Journey],
    questions: usize,
) -> anyhow::Result<Vec<Vec<Target>>> {
    // The one has longer answers too.
    let tokens = |n| if n < NINE { TOKENS } else { 2 * TOKENS };
    let mut of_each = Vec::new();
    for (n, account) in accounts.iter().enumerate() {
        let asked = (0..questions).map(|question| target(path, account, tokens(n), question));
        of_each.push(asked.collect::<anyhow::Result<Vec<_>>>()?);
    }
    Ok(of_each)
}

fn target(
    path: &ModelPath,
    account: &Journey,
    tokens: u64,
    question: usize,
) -> anyhow::Result<Target> {
    let mut body = scripted(json!({"tokens": tokens, "delay_ms": TOKEN_MS}));
    body["messages"] = json!([{"role": "user", "content": format!("第{question}问")}]);
    body["stream"] = json!(true);
    body["max_tokens"] = json!(tokens);
    let address = format!("{}/v1/chat/completions", path.base());
    Target::new(
        &address,
        Some(account.secret()),
        Bytes::from(body.to_string()),
    )
}

/// What each of the nine keeps at least beside the other of what it gets alone, in per cent.
async fn show_kept(
    of_each: &[Vec<Target>],
    routers: usize,
    arrivals: Option<&Arrivals>,
    long: Duration,
) -> anyhow::Result<f64> {
    let alone = nine(of_each, arrivals, long).await;
    // What they do not get alone nobody could take from them.
    let all_answered = |shots: &Vec<Shot>| shots.iter().all(|it| it.seen == Seen::Answered);
    ensure!(
        arrivals.is_some() || alone.iter().all(all_answered),
        "calls of the nine failed while they were alone"
    );
    let times = times(arrivals, RATE * TIMES, long, NINE);
    let other = send(of_each[NINE].clone(), times);
    let (beside, other) = tokio::join!(nine(of_each, arrivals, long), other);
    let how = if arrivals.is_some() {
        "as in the trace"
    } else {
        "evenly"
    };
    println!("  {routers} router(s), calls come {how}:");
    for (name, served) in [
        ("the nine alone", &alone[..]),
        ("the nine beside it", &beside[..]),
        ("the other", &[other][..]),
    ] {
        Served::of(served).print(name);
    }
    let [alone, beside] = [alone, beside].map(|shots| answered_of_each(&shots));
    let kept = least_kept(&alone, &beside);
    println!("  who of the nine keeps least keeps {kept:.1} %: of {alone:?} it is {beside:?}");
    Ok(kept)
}

/// Calls of each account that were answered.
fn answered_of_each(shots: &[Vec<Shot>]) -> Vec<usize> {
    let answered = shots.iter().map(|shots| {
        let answered = shots.iter().filter(|shot| shot.seen == Seen::Answered);
        answered.count()
    });
    answered.collect()
}

/// What that account keeps which keeps least of what it gets alone, in per cent: a sum alone would hide one that
/// is starved. Of so few calls that one is more than may be lost, one may be, as long as all together keep enough.
fn least_kept(alone: &[usize], beside: &[usize]) -> f64 {
    const FEW: usize = 20;
    let share = |alone: usize, beside: usize| 100.0 * beside as f64 / alone.max(1) as f64;
    let of_each = alone.iter().zip(beside).map(|(alone, beside)| {
        let is_chance = *alone < FEW && beside + 1 == *alone;
        share(*alone, beside + usize::from(is_chance))
    });
    let together = share(alone.iter().sum(), beside.iter().sum());
    of_each.fold(together, f64::min)
}

/// The nine send what they send.
async fn nine(
    of_each: &[Vec<Target>],
    arrivals: Option<&Arrivals>,
    long: Duration,
) -> Vec<Vec<Shot>> {
    let mut sending = Vec::new();
    for (n, questions) in of_each[..NINE].iter().enumerate() {
        sending.push(send(questions.clone(), times(arrivals, RATE, long, n)));
    }
    join_all(sending).await
}

/// When the calls of an account come.
fn times(arrivals: Option<&Arrivals>, rate: f64, long: Duration, account: usize) -> Vec<Duration> {
    if let Some(arrivals) = arrivals {
        return arrivals.at(rate, long, account, NINE + 1);
    }
    let count = (long.as_secs_f64() * rate).round() as u32;
    let times = (0..count).map(|n| Duration::from_secs_f64(f64::from(n) / rate));
    times.collect()
}

/// An account sends its questions in turn, at these times.
async fn send(questions: Vec<Target>, times: Vec<Duration>) -> Vec<Shot> {
    let calls = times.into_iter().enumerate();
    send_each(calls.map(move |(n, at)| (at, questions[n % questions.len()].clone()))).await
}

/// What accounts got.
struct Served {
    sent: usize,
    answered: usize,
    whole: Vec<Duration>,
}

impl Served {
    fn of(shots: &[Vec<Shot>]) -> Self {
        let shots = shots.iter().flatten();
        let answered = shots.clone().filter(|shot| shot.seen == Seen::Answered);
        let whole: Vec<_> = answered.map(|shot| shot.whole).collect();
        Self {
            sent: shots.count(),
            answered: whole.len(),
            whole,
        }
    }

    fn print(&self, name: &str) {
        let mut whole = self.whole.clone();
        println!(
            "  {name:<19} {:>5} sent, {:>5} answered, in {:>6.0?} (p50), {:>6.0?} (p99)",
            self.sent,
            self.answered,
            quantile(&mut whole, 0.5),
            quantile(&mut whole, 0.99)
        );
    }
}

/// Tokens that each was served while all had calls waiting; each asks its questions in turn.
async fn all_want_more(of_each: Vec<Vec<Target>>, long: Duration) -> Vec<u64> {
    let loads: Vec<_> = of_each
        .into_iter()
        .enumerate()
        .map(|(n, questions)| {
            let clients = CLIENTS[usize::from(n == NINE)];
            let ask = move |call| questions[call as usize % questions.len()].clone();
            Load::start(Arc::new(ask), clients)
        })
        .collect();
    // Until every queue is full.
    sleep(Duration::from_secs(1)).await;
    loads.iter().for_each(|load| drop(load.take()));
    sleep(long + Duration::from_secs(1)).await;
    let served = loads.iter().enumerate().map(|(n, load)| {
        let counts = load.take();
        let tokens = if n < NINE { TOKENS } else { 2 * TOKENS };
        (counts.calls - counts.refused - counts.cut) * tokens
    });
    // Answers that still wait for their turn are of no time that is judged: their clients leave.
    served.collect()
}

/// Jain's index of what was served by so many routers.
fn show_evenness(tokens: &[u64], routers: usize) -> f64 {
    let even = jain(tokens);
    println!(
        "  all want more of {routers} router(s): tokens of each {tokens:?}, Jain's index {even:.3}"
    );
    even
}

/// 1 where all have the same, one over their number where one has all.
fn jain(shares: &[u64]) -> f64 {
    let sum: f64 = shares.iter().map(|share| *share as f64).sum();
    let squares: f64 = shares.iter().map(|share| (*share as f64).powi(2)).sum();
    sum * sum / (shares.len() as f64 * squares).max(f64::MIN_POSITIVE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_of_nine_that_is_starved_is_not_made_up_for_by_the_others() {
        let alone = [120; NINE];
        let mut beside = alone;
        beside[4] = 72;
        let sums = [alone, beside].map(|all| all.iter().sum::<usize>() as f64);
        assert!(
            100.0 * sums[1] / sums[0] > KEEP,
            "together they keep enough"
        );
        assert!((least_kept(&alone, &beside) - 60.0).abs() < 1e-9);
        assert!((least_kept(&alone, &alone) - 100.0).abs() < 1e-9);
        // One call of few may be lost, and no second one.
        let few = [6; NINE];
        let mut lost = few;
        lost[2] = 5;
        assert!(least_kept(&few, &lost) > KEEP);
        lost[5] = 4;
        assert!(least_kept(&few, &lost) < 70.0);
        assert!(least_kept(&few, &[5; NINE]) < KEEP);
        // Who gets nothing alone keeps nothing of it.
        assert_eq!(least_kept(&[120, 0], &[120, 0]), 0.0);
    }

    #[test]
    fn the_index_is_1_for_equal_shares_and_one_over_n_for_one_who_has_all() {
        assert!((jain(&[7, 7, 7, 7]) - 1.0).abs() < 1e-9);
        assert!((jain(&[9, 0, 0]) - 1.0 / 3.0).abs() < 1e-9);
    }
}
