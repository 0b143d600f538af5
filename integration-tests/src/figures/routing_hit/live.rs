//! The same requests through routers as they are, ours and those of others, as processes.

use super::{
    super::{
        peers::Peers,
        rig,
        routing_trace::Request,
        trace_replay::{Shown, body, replay, start},
    },
    BUSIEST,
};
use crate::stack::{Stack, create_private_folder};

/// Points that another router may find more than ours: what two runs of one differ by.
const BESIDE: f64 = 1.0;
/// Points that may be found less than the goal of the modelled engines, for the same reason.
const BELOW: f64 = 0.5;
/// How many times as long as by the quickest of the others an engine may take to a first token, at the ninth
/// decile.
const LONGER: f64 = 1.1;

/// What was shown with caches of one size.
pub(super) struct BySize {
    /// Blocks of a cache.
    pub size: usize,
    /// What our router showed.
    pub ours: Shown,
    /// What each of the others showed.
    others: Vec<Shown>,
}

/// Replays the requests through each router, with caches of each size.
pub(super) async fn measure(
    stack: &Stack,
    requests: &[Request],
    sizes: &[usize],
) -> anyhow::Result<Vec<BySize>> {
    Shown::print_head();
    let mut all = Vec::new();
    for size in sizes.iter().copied() {
        // Anew for each size: what a router knows of engines that forgot everything would be wrong.
        let (path, target) = start(stack, "routing-hit", 1, Some("round_robin")).await?;
        let in_turn = replay(&path, &target, requests, size).await?;
        in_turn.print(size, "ours, round_robin");
        drop(path);
        let (path, target) = start(stack, "routing-hit", 1, Some("prefix_aware")).await?;
        let ours = replay(&path, &target, requests, size).await?;
        ours.print(size, "ours, prefix_aware");

        let folder = stack.description().dir.join("figures/routing-hit/peers");
        create_private_folder(&folder)?;
        let engines = path.engines.iter();
        let engines: Vec<_> = engines.map(|it| it.url.replace("http://", "")).collect();
        let peers = Peers {
            installed: &rig::peers()?,
            folder: &folder,
            engines: &engines,
            policy: "cache_aware",
            body: &body(&requests[0]),
            processor: 0,
        };
        let mut others = Vec::new();
        for peer in peers.start_routers().await? {
            let shown = replay(&path, &peer.target, requests, size).await?;
            shown.print(size, &format!("{} {}", peer.name, peer.version));
            others.push(shown);
        }
        all.push(BySize { size, ours, others });
    }
    Ok(all)
}

impl BySize {
    /// What the best of the others found, in per cent.
    pub(super) fn best(&self) -> f64 {
        let found = self.others.iter().map(|other| other.found);
        found.fold(0.0, f64::max)
    }

    /// What ours misses, in words; `goal` is what it has to find, in per cent, where the load is real.
    pub(super) fn missed(&self, goal: Option<f64>) -> Vec<String> {
        let (ours, best) = (&self.ours, self.best());
        let mut missed = Vec::new();
        if ours.failed > 0 {
            missed.push(format!("{} calls failed", ours.failed));
        }
        if goal.is_some_and(|goal| ours.found + BELOW < goal) {
            missed.push(format!("only {:.1} % found", ours.found));
        }
        if ours.found + BESIDE < best {
            missed.push(format!("another finds {best:.1} %"));
        }
        // Who refuses calls has fewer of them to wait for.
        let whole = self.others.iter().filter(|other| other.failed == 0);
        let quickest = whole.map(|other| other.at_engine[1]).min();
        if let Some(quickest) = quickest
            && ours.at_engine[1] > quickest.mul_f64(LONGER)
        {
            let ninth = ours.at_engine[1];
            missed.push(format!(
                "first token at its engine after {ninth:.2?}, another's {quickest:.2?} (p90)"
            ));
        }
        if ours.busiest > BUSIEST {
            missed.push(format!(
                "the busiest engine gets {:.2} times the mean",
                ours.busiest
            ));
        }
        missed
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn shown(found: f64, ninth_ms: u64, busiest: f64, failed: usize) -> Shown {
        Shown {
            found,
            first_token: [Duration::from_secs(1); 2],
            at_engine: [Duration::from_millis(1), Duration::from_millis(ninth_ms)],
            busiest,
            failed,
            hidden: 0,
            failed_late: 0,
        }
    }

    fn missed(ours: Shown, others: &[Shown]) -> usize {
        let by_size = BySize {
            size: 1000,
            ours,
            others: others.to_vec(),
        };
        by_size.missed(Some(36.0)).len()
    }

    #[test]
    fn ours_is_judged_by_the_goal_and_beside_the_best_of_the_others() {
        let others = [shown(36.5, 30, 1.3, 0), shown(12.0, 20, 1.0, 7)];
        assert_eq!(missed(shown(36.0, 32, 1.02, 0), &others), 0);
        assert_eq!(missed(shown(35.4, 32, 1.02, 0), &others), 2);
        assert_eq!(missed(shown(36.0, 40, 1.2, 3), &others), 3);
        assert_eq!(missed(shown(36.0, 900, 1.02, 0), &[]), 0);
    }
}
