//! Twice a limit for three minutes over four routers, one of which is killed and starts anew: how many
//! calls are let through until the end of each minute, by the engine's own count.
//!
//! Above, there is no room: the bucket was full once and fills evenly, a router lets through only what it
//! took from it before, and what a dead one had taken nobody has. Below is what ADR 9 states.

use std::{fmt, time::Duration};

use anyhow::ensure;
use bytes::Bytes;
use serde_json::json;
use tokio::time::{Instant, sleep_until};

use super::{
    super::{
        customers::scripted,
        model_path::{ModelPath, Seen, Shot, send_each},
    },
    HOLDS, PARTS, TOP_UP_FEN, key_with, start,
};
use crate::{journey::Journey, load::Target, stack::Stack};

const ROUTERS: u32 = 4;
/// Calls that may begin in a minute.
const LIMIT: u32 = 320;
const MINUTES: u32 = 3;
const MINUTE: Duration = Duration::from_secs(60);
/// The bucket is emptied first: a full one would let through all that comes in the first minute.
const EMPTYING: u32 = LIMIT * 5 / 4;
const EMPTYING_EVERY: Duration = Duration::from_millis(5);
const EMPTIED: Duration = EMPTYING_EVERY.saturating_mul(EMPTYING);
/// The router that is killed, and when: in the middle.
const DIES: usize = 1;
const DIES_AT: Duration = EMPTIED.saturating_add(Duration::from_secs(90));
const BACK: Duration = Duration::from_secs(30);
/// What filled in lies in the bucket until somebody asks: who found it empty does not for a quarter of a
/// second, and calls come one by one.
const NOT_ASKED_FOR: Duration = Duration::from_millis(500);

/// What was let through.
pub(super) struct Minutes(Vec<Until>);

/// What was let through until a moment.
#[derive(Clone, Copy, Debug)]
struct Until {
    elapsed: Duration,
    calls: u64,
}

pub(super) async fn measure(stack: &Stack) -> anyhow::Result<Minutes> {
    let mut journey = Journey::ready_to_call(stack, TOP_UP_FEN).await?;
    let limits = json!({"requestsPerMinute": LIMIT.to_string()});
    let secret = key_with(&mut journey, limits).await?;
    let path = start(stack, ROUTERS as usize).await?;
    tokio::time::sleep(HOLDS).await;
    let address = format!("{}/v1/chat/completions", path.base());
    let target = Target::new(&address, Some(&secret), Bytes::new())?;
    let before = path.engines[0].counted().await?.calls;
    println!(
        "  a key's limit of {LIMIT} requests a minute, emptied; then {} a minute over {ROUTERS} routers, one killed after {:?} and started again",
        2 * LIMIT,
        DIES_AT - EMPTIED
    );
    let begin = Instant::now();
    let (shots, ends, killed) = tokio::join!(
        send_each(calls().map(|(n, at)| (at, call(&target, n)))),
        ends(&path, begin),
        kill(&path, begin)
    );
    killed?;
    let mut ends = ends?;
    // Those too that were under way at the last minute's end.
    ends.push(until_now(&path, begin).await?);
    for until in &mut ends {
        until.calls -= before;
    }
    let minutes = Minutes(ends);
    minutes.print();
    print_calls(&shots);
    for router in &path.routers {
        let ended = router.metric("inference_routing_calls", "", "outcome");
        let ended: f64 = ended.await?.values().sum();
        ensure!(ended > 0.0, "a router let nothing through");
    }
    Ok(minutes)
}

/// Every call by its number, and when it is sent.
fn calls() -> impl Iterator<Item = (u32, Duration)> {
    let emptying = (0..EMPTYING).map(|n| (n, EMPTYING_EVERY * n));
    let steady = (0..2 * LIMIT * MINUTES).map(|n| {
        let at = EMPTIED + MINUTE * n / (2 * LIMIT);
        (EMPTYING + n, at)
    });
    emptying.chain(steady)
}

fn call(target: &Target, n: u32) -> Target {
    let mut body = scripted(json!({"tokens": 2}));
    // What begins alike goes to one router.
    body["messages"][0]["content"] = format!("call {n}").into();
    body["max_tokens"] = json!(2);
    body["stream"] = json!(true);
    Target {
        body: Bytes::from(body.to_string()),
        ..target.clone()
    }
}

/// What was let through when the bucket was emptied, and at the end of each minute from then on.
async fn ends(path: &ModelPath, begin: Instant) -> anyhow::Result<Vec<Until>> {
    let mut ends = Vec::new();
    for minute in 0..=MINUTES {
        sleep_until(begin + EMPTIED + MINUTE * minute).await;
        ends.push(until_now(path, begin).await?);
    }
    Ok(ends)
}

async fn until_now(path: &ModelPath, begin: Instant) -> anyhow::Result<Until> {
    let calls = path.engines[0].counted().await?.calls;
    let elapsed = begin.elapsed();
    Ok(Until { elapsed, calls })
}

async fn kill(path: &ModelPath, begin: Instant) -> anyhow::Result<()> {
    sleep_until(begin + DIES_AT).await;
    let router = &path.routers[DIES].process;
    let dying = router.clone();
    let started = tokio::task::spawn_blocking(move || {
        dying.kill9();
        dying.start()
    });
    started.await??;
    Ok(router.wait_ready(BACK).await?)
}

/// What clients were told.
fn print_calls(shots: &[Shot]) {
    let of = |wanted: fn(&Seen) -> bool| shots.iter().filter(|shot| wanted(&shot.seen)).count();
    let answered = of(|seen| *seen == Seen::Answered);
    let limited = of(|seen| matches!(seen, Seen::Refused(word) if word == "rate_limit_exceeded"));
    println!(
        "  {} calls: {answered} answered, {limited} refused by the limit, {} failed otherwise, as with the router that died",
        shots.len(),
        shots.len() - answered - limited
    );
}

impl Until {
    /// What the bucket can have given: all that it had, and what filled in.
    fn most(&self) -> f64 {
        f64::from(LIMIT) * (1.0 + self.elapsed.as_secs_f64() / MINUTE.as_secs_f64())
    }

    fn above(&self) -> f64 {
        (self.calls as f64 - self.most()).max(0.0)
    }

    fn below(&self) -> f64 {
        (self.most() - self.calls as f64).max(0.0)
    }

    /// By ADR 9 each other router may hold a part unused, and one that was killed takes two along.
    fn may_be_less(&self) -> f64 {
        let lost = if self.elapsed > DIES_AT { 2 } else { 0 };
        let part = f64::from(LIMIT) / PARTS as f64;
        let filled = f64::from(LIMIT) * NOT_ASKED_FOR.as_secs_f64() / MINUTE.as_secs_f64();
        f64::from(ROUTERS - 1 + lost) * part + filled
    }
}

impl Minutes {
    fn above(&self) -> f64 {
        self.0.iter().map(Until::above).fold(0.0, f64::max)
    }

    pub(super) fn is_as_stated(&self) -> bool {
        // The bucket may be empty a moment after the calls that empty it.
        let mut minutes = self.0.iter().skip(1);
        self.above() <= 0.0 && minutes.all(|until| until.below() <= until.may_be_less())
    }

    fn print(&self) {
        println!("  until     in it  altogether  above what filled in  below it (stated: at most)");
        let mut before = 0;
        for until in &self.0 {
            println!(
                "  {:>5.1} s  {:>5}  {:>10}  {:>20.1}  {:>8.1} ({:.1})",
                until.elapsed.as_secs_f64(),
                until.calls - before,
                until.calls,
                until.above(),
                until.below(),
                until.may_be_less()
            );
            before = until.calls;
        }
    }
}

impl fmt::Display for Minutes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let below = self.0.last().map_or(0.0, Until::below);
        write!(
            f,
            "{:.1} / {below:.1} of {LIMIT} a minute in {MINUTES} minutes at twice as many, a router killed",
            self.above()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn until(seconds: u64, calls: u64) -> Until {
        Until {
            elapsed: Duration::from_secs(seconds),
            calls,
        }
    }

    #[test]
    fn twice_the_limit_comes_in_every_minute() {
        let steady = |minute: u32| {
            let begin = EMPTIED + MINUTE * minute;
            let of_it = calls().filter(|(_, at)| (begin..begin + MINUTE).contains(at));
            of_it.count()
        };
        for minute in 0..MINUTES {
            assert_eq!(steady(minute), 2 * LIMIT as usize);
        }
        assert_eq!(calls().count(), (EMPTYING + 2 * LIMIT * MINUTES) as usize);
    }

    #[test]
    fn what_is_stated_is_more_after_a_router_died() {
        let (before, after) = (until(60, 0).may_be_less(), until(120, 0).may_be_less());
        assert!((before - 32.7).abs() < 0.1, "{before}");
        assert!((after - 52.7).abs() < 0.1, "{after}");
        let seen = |calls| Minutes(vec![until(2, 0), until(60, 640), until(120, calls)]);
        assert!(seen(960).is_as_stated());
        assert!(seen(960 - 52).is_as_stated());
        assert!(!seen(960 - 53).is_as_stated());
        assert!(!seen(961).is_as_stated());
    }
}
