//! What several router replicas that know nothing of each other cost in blocks found: by the real
//! rules of placement and of the edge's channel on modelled engines (see [`super::routing_model`] and
//! ADR 10), and as processes, while a router and an engine are killed and another router restarts.

mod held_streams;
mod live;
mod phases;
mod shares;

use inference_routing::domain::placement::Policy;

use super::{
    Figure, Kind, Reading, Tier,
    routing_model::{Model, Rule, Way},
    routing_trace::requests,
};
use crate::stack::Stack;

/// Blocks of an engine's cache.
const CACHES: [usize; 2] = [3_000, 10_000];
/// What may be lost, in points.
const GOAL: f64 = 2.0;

/// The figure.
pub(super) fn figure() -> Figure {
    Figure {
        name: "routing-replicas",
        claim: "points of blocks found that 2 and 4 routers lose against one, by ADR 10's rule; no call fails or breaks while routers and an engine die and restart, but those that ran on who died",
        kind: Kind::Correctness,
        measure: |stack, tier| Box::pin(measure(stack, tier)),
    }
}

async fn measure(stack: Stack, tier: Tier) -> anyhow::Result<Reading> {
    let live = live::measure(&stack, tier).await?;
    let lost = model(tier)?;
    let (mut holds, mut processes) = (lost <= GOAL && live.wrong == 0, String::new());
    if tier == Tier::Full {
        let loss = shares::measure(&stack).await?;
        holds &= loss.points <= GOAL && loss.failed == 0;
        processes = format!(
            ", {:.1} as processes with {} calls failed",
            loss.points, loss.failed
        );
    }
    Ok(Reading {
        figure: format!("{lost:.1}"),
        unit: format!(
            "points lost at most by what begins alike going to one of 2 or 4 routers, modelled{processes}; {} calls failed or broke ({} more died with a router or an engine, left out after {:.2?})",
            live.wrong, live.excused, live.left_out
        ),
        goal: format!("<= {GOAL}, 0"),
        holds,
    })
}

/// The most points that are lost by ADR 10's rule.
fn model(tier: Tier) -> anyhow::Result<f64> {
    let (requests, _) = requests()?;
    println!(
        "  {} requests; routers and engines are modelled, in virtual time",
        requests.len()
    );
    println!("  blocks  routers  calls come   found  first token p50     p90  busiest router");
    let mut lost: f64 = 0.0;
    for blocks in CACHES {
        let mut alone = 0.0;
        for (routers, way) in [
            (1, Way::InTurn),
            (2, Way::InTurn),
            (4, Way::InTurn),
            (2, Way::ByBeginning),
            (4, Way::ByBeginning),
        ] {
            // What the rule is for is no part of the goal.
            if tier == Tier::Quick && routers > 1 && way == Way::InTurn {
                continue;
            }
            let model = Model {
                routers,
                way,
                ..Model::of(Rule::Ours(Policy::PrefixAware), blocks)
            };
            let replay = model.replay(&requests);
            println!(
                "  {blocks:>6} {routers:>8}  {:<11} {:>5.1} % {:>13.2?} {:>8.2?} {:>6.2}x",
                format!("{way:?}"),
                replay.hit,
                replay.first_token[0],
                replay.first_token[1],
                replay.busiest,
            );
            match (routers, way) {
                (1, _) => alone = replay.hit,
                (_, Way::ByBeginning) => lost = lost.max(alone - replay.hit),
                (_, Way::InTurn) => {}
            }
        }
    }
    Ok(lost)
}
