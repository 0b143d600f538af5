//! What several router replicas that know nothing of each other cost in blocks found: by the real
//! rules of placement and of the edge's channel on modelled engines (see [`super::routing_model`] and
//! ADR 10), and as processes, while an engine is killed and a router restarts.

mod live;

use inference_routing::domain::placement::Policy;

use super::{
    Figure, Kind, Reading,
    routing_model::{Way, replay, requests},
};

/// Blocks of an engine's cache.
const CACHES: [usize; 2] = [3_000, 10_000];
/// What may be lost, in points.
const GOAL: f64 = 2.0;

/// The figure.
pub(super) fn figure() -> Figure {
    Figure {
        name: "routing-replicas",
        claim: "points of blocks found that 2 and 4 routers lose against one, by ADR 10's rule; no call fails while an engine dies and a router restarts",
        kind: Kind::Correctness,
        measure: |stack, tier| {
            Box::pin(async move {
                let live = live::measure(&stack, tier).await?;
                model(live)
            })
        },
    }
}

fn model(live: live::Shown) -> anyhow::Result<Reading> {
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
            let replay = replay(&requests, blocks, Policy::PrefixAware, routers, way);
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
    Ok(Reading {
        figure: format!("{lost:.1}"),
        unit: format!(
            "points lost at most by what begins alike going to one of 2 or 4 routers, modelled; {} calls failed as processes",
            live.failed
        ),
        goal: format!("<= {GOAL}, 0"),
        holds: lost <= GOAL && live.failed == 0,
    })
}
