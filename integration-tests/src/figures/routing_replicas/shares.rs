//! A trace through 1, 2 and 4 routers as processes: what the engines find of its blocks, and what they find of
//! them while one of two routers is killed half-way and starts again.

use std::time::Duration;

use tokio::time::sleep;

use super::{
    super::{
        model_path::ModelPath,
        routing_trace::Request,
        trace_replay::{FASTER, Shown, replay, start},
    },
    CACHES, GOAL,
};
use crate::stack::Stack;

const ROUTERS: [usize; 3] = [1, 2, 4];
/// How a router is killed: one of so many, with caches of so many blocks, for so long.
const KILLED_OF: usize = 2;
const KILLED_AT: usize = CACHES[1];
const DOWN: Duration = Duration::from_secs(2);
const READY: Duration = Duration::from_secs(30);
/// Points by which two runs of one differ.
const APART: f64 = 0.5;

/// What several routers lose against one.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Loss {
    /// Points of blocks found, at most.
    pub points: f64,
    /// Calls without a whole answer.
    pub failed: usize,
    /// What the death of one of them costs.
    pub killed: Killed,
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
    let (path, target) = start(stack, "routing-replicas", KILLED_OF, None).await?;
    let last = requests.last().map_or(0, |request| request.timestamp);
    let half = Duration::from_millis(last / 2 / FASTER);
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
