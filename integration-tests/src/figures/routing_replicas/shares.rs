//! A trace through 1, 2 and 4 routers as processes: what the engines find of its blocks, what they find of
//! them while one of two routers is killed half-way and starts again, and which calls fail while an engine is
//! killed at a third and a router restarts at two thirds.

use std::time::Duration;

use anyhow::ensure;
use tokio::time::{Instant, sleep, sleep_until};

use super::{
    super::{
        model_path::{ModelPath, ScriptedEngine},
        routing_trace::Request,
        trace_replay::{FASTER, Shown, replay, start},
    },
    CACHES, GOAL,
    live::back,
};
use crate::stack::Stack;

const ROUTERS: [usize; 3] = [1, 2, 4];
/// How a router is killed: one of so many, with caches of so many blocks, for so long.
const KILLED_OF: usize = 2;
const KILLED_AT: usize = CACHES[2];
const DOWN: Duration = Duration::from_secs(2);
const READY: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_millis(20);
/// Points by which two runs of one differ.
const APART: f64 = 0.5;
/// Calls that may have their first token between the question what an engine runs and its death: a question takes
/// some milliseconds, and an engine begins 26 a second.
const BEGUN: usize = 2;

/// What several routers lose against one.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Loss {
    /// Points of blocks found, at most.
    pub points: f64,
    /// Calls without a whole answer.
    pub failed: usize,
    /// What the death of one of them costs.
    pub killed: Killed,
    /// What the death of an engine and the restart of a router cost.
    pub disturbed: Disturbed,
}

/// What the death of a router costs beside the same routers that live.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Killed {
    /// Points of blocks found.
    pub points: f64,
    /// Calls without a whole answer.
    pub failed: usize,
    /// Of those, calls whose client takes what it got for one. The edge lives and can say better.
    hidden: usize,
    /// Calls that ran on it just before.
    ran: usize,
}

impl Killed {
    /// No more is lost than may be. Between the question what runs and the death some calls end and
    /// others begin.
    pub(super) fn holds(&self) -> bool {
        self.points <= GOAL + APART && self.failed <= 2 * self.ran + 5 && self.hidden == 0
    }
}

/// Calls without a whole answer, where an engine dies in the first half of the trace and a router restarts in
/// the second.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Disturbed {
    /// In the first half.
    pub by_death: usize,
    /// In the second half.
    pub by_restart: usize,
    /// Of both, calls whose client takes what it got for a whole answer. The edge lives and can say better.
    hidden: usize,
    /// Calls that ran on the engine just before.
    ran: usize,
}

impl Disturbed {
    /// What had a token may break with its engine, and says so; what had none goes to another, and a restart
    /// breaks nothing.
    pub(super) const fn holds(&self) -> bool {
        self.by_death <= self.ran + BEGUN && self.by_restart == 0 && self.hidden == 0
    }
}

pub(super) async fn measure(stack: &Stack, requests: &[Request]) -> anyhow::Result<Loss> {
    Shown::print_head();
    let (mut loss, mut beside) = (Loss::default(), 0.0);
    for blocks in CACHES {
        let mut alone = 0.0;
        for routers in ROUTERS {
            // Anew each time: what a router knows of engines that forgot everything would be wrong.
            let (path, target) = start(stack, "routing-replicas", routers, None).await?;
            let shown = replay(&path, &target, requests, blocks).await?;
            shown.print(blocks, &format!("{routers} of ours"));
            loss.failed += shown.failed;
            match routers {
                1 => alone = shown.found,
                _ => loss.points = loss.points.max(alone - shown.found),
            }
            if (routers, blocks) == (KILLED_OF, KILLED_AT) {
                beside = shown.found;
            }
        }
    }
    let last = requests.last().map_or(0, |request| request.timestamp);
    let whole = Duration::from_millis(last / FASTER);
    loss.disturbed = disturbed(stack, requests, whole / 3).await?;
    let (path, target) = start(stack, "routing-replicas", KILLED_OF, None).await?;
    let half = whole / 2;
    let (shown, ran) = tokio::join!(
        replay(&path, &target, requests, KILLED_AT),
        kill_after(&path, half)
    );
    let (shown, ran) = (shown?, ran?);
    shown.print(KILLED_AT, &format!("{KILLED_OF}, one killed half-way"));
    println!("  {ran} calls ran on it just before");
    if shown.hidden > 0 {
        println!(
            "  WRONG: {} of those that failed ended as if they were whole",
            shown.hidden
        );
    }
    loss.killed = Killed {
        points: beside - shown.found,
        failed: shown.failed,
        hidden: shown.hidden,
        ran,
    };
    Ok(loss)
}

/// The trace, in which an engine dies after so long, and a router restarts after twice as long.
async fn disturbed(
    stack: &Stack,
    requests: &[Request],
    long: Duration,
) -> anyhow::Result<Disturbed> {
    let (path, target) = start(stack, "routing-replicas", KILLED_OF, None).await?;
    let (shown, ran) = tokio::join!(
        replay(&path, &target, requests, KILLED_AT),
        disturb(&path, long)
    );
    let (shown, ran) = (shown?, ran?);
    shown.print(KILLED_AT, "2, an engine killed");
    let disturbed = Disturbed {
        by_death: shown.failed - shown.failed_late,
        by_restart: shown.failed_late,
        hidden: shown.hidden,
        ran,
    };
    println!(
        "  {} calls failed when the engine died, and {ran} ran on it just before; {} when a router restarted; {} of these ended as if they were whole",
        disturbed.by_death, disturbed.by_restart, disturbed.hidden
    );
    Ok(disturbed)
}

/// Kills the first engine then and starts it again, and restarts the first router after as long again; answers
/// what the engine ran just before.
async fn disturb(path: &ModelPath, long: Duration) -> anyhow::Result<usize> {
    let begin = Instant::now();
    sleep(long).await;
    let engine = &path.engines[0];
    let mut ran = running(engine).await?;
    while ran == 0 {
        ensure!(begin.elapsed() < long + READY, "the engine runs nothing");
        sleep(LOOK).await;
        ran = running(engine).await?;
    }
    engine.process.kill9();
    sleep(DOWN).await;
    let again = Instant::now();
    engine.process.start()?;
    engine.process.wait_ready(READY).await?;
    engine.keep(KILLED_AT).await?;
    while engine.counted().await?.calls == 0 {
        ensure!(again.elapsed() < READY, "the engine gets no calls again");
        sleep(LOOK).await;
    }
    println!("  the engine is used again after {:.2?}", again.elapsed());

    sleep_until(begin + 2 * long).await;
    let router = path.routers[0].process.clone();
    let again = Instant::now();
    tokio::task::spawn_blocking(move || router.restart()).await??;
    let note = back(path, 0, again).await?;
    println!("  the router restarts{note}");
    Ok(ran)
}

/// Calls that an engine runs, by its own record.
async fn running(engine: &ScriptedEngine) -> anyhow::Result<usize> {
    let calls = engine.truth().await?;
    let running = calls.values().filter(|call| call["ending"] == "running");
    Ok(running.count())
}

/// Kills the first router then, and starts it again; answers what it ran just before.
async fn kill_after(path: &ModelPath, long: Duration) -> anyhow::Result<usize> {
    sleep(long).await;
    let router = &path.routers[0];
    let ran = router.under_way().await? as usize;
    router.process.kill9();
    sleep(DOWN).await;
    router.process.start()?;
    router.process.wait_ready(READY).await?;
    Ok(ran)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_calls_fail_than_ran_on_the_engine_and_none_by_a_restart() {
        let disturbed = |by_death, by_restart, hidden| Disturbed {
            by_death,
            by_restart,
            hidden,
            ran: 3,
        };
        assert!(disturbed(3 + BEGUN, 0, 0).holds());
        assert!(!disturbed(4 + BEGUN, 0, 0).holds());
        assert!(!disturbed(0, 1, 0).holds());
        assert!(!disturbed(1, 0, 1).holds());
    }

    #[test]
    fn a_death_may_cost_what_ran_and_little_of_what_is_found() {
        let killed = |points, failed, hidden| Killed {
            points,
            failed,
            hidden,
            ran: 10,
        };
        assert!(killed(2.4, 25, 0).holds());
        assert!(!killed(2.6, 0, 0).holds());
        assert!(!killed(0.0, 26, 0).holds());
        assert!(!killed(0.0, 1, 1).holds());
    }
}
