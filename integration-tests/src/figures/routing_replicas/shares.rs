//! A trace through 1, 2 and 4 routers as processes: what the engines find of its blocks.

use super::{
    super::{
        routing_trace::requests,
        trace_replay::{Shown, replay, start},
    },
    CACHES,
};
use crate::stack::Stack;

const ROUTERS: [usize; 3] = [1, 2, 4];

/// What several routers lose against one.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Loss {
    /// Points of blocks found, at most.
    pub points: f64,
    /// Calls without a whole answer.
    pub failed: usize,
}

pub(super) async fn measure(stack: &Stack) -> anyhow::Result<Loss> {
    let (requests, _) = requests()?;
    Shown::print_head();
    let mut loss = Loss::default();
    for blocks in CACHES {
        let mut alone = 0.0;
        for routers in ROUTERS {
            // Anew each time: what a router knows of engines that forgot everything would be wrong.
            let (path, target) = start(stack, "routing-replicas", routers, None).await?;
            let shown = replay(&path, &target, &requests, blocks).await?;
            shown.print(blocks, &format!("{routers} of ours"));
            loss.failed += shown.failed;
            match routers {
                1 => alone = shown.found,
                _ => loss.points = loss.points.max(alone - shown.found),
            }
        }
    }
    Ok(loss)
}
