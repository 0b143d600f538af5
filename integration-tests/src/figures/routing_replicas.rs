//! What several router replicas that know nothing of each other cost in blocks found, by the real
//! placement rules on modelled engines (see [`super::routing_model`] and ADR 10).

use inference_routing::domain::placement::Policy;

use super::{
    Figure, Kind, Reading, Tier,
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
        claim: "points of blocks found that 2 and 4 modelled routers lose against one, by ADR 10's rule",
        kind: Kind::Correctness,
        measure: |_, tier| Box::pin(async move { measure(tier) }),
    }
}

fn measure(_: Tier) -> anyhow::Result<Reading> {
    let (requests, _) = requests()?;
    println!(
        "  {} requests; routers and engines are modelled, in virtual time",
        requests.len()
    );
    println!("  blocks  routers  calls come   found  first token p50     p90");
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
                "  {blocks:>6} {routers:>8}  {:<11} {:>5.1} % {:>13.2?} {:>8.2?}",
                format!("{way:?}"),
                replay.hit,
                replay.first_token[0],
                replay.first_token[1],
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
        unit: "points lost at most by what begins alike going to one of 2 or 4 routers, modelled"
            .to_owned(),
        goal: format!("<= {GOAL}"),
        holds: lost <= GOAL,
    })
}
