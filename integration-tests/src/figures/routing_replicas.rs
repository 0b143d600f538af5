//! What several router replicas that know nothing of each other cost in blocks found: by the real
//! rules of placement and of the edge's channel on modelled engines (see [`super::routing_model`] and
//! ADR 10), and as processes, while a router and an engine are killed and another router restarts. A router
//! that begins anew knows nothing of what engines have: what that costs, and for how long. What dies with who ran
//! it must say so to its client, by an error event: an end that looks whole is wrong whoever died.

mod held_streams;
mod live;
mod phases;
mod shares;

use std::time::Duration;

use inference_routing::domain::placement::Policy;

use super::{
    Figure, Kind, Reading, Tier,
    routing_model::{Model, Replay, Rule, Way},
    routing_trace::{Request, requests},
};
use crate::stack::Stack;
use live::WARM;

/// Blocks of an engine's cache, as in `routing-hit`.
const CACHES: [usize; 4] = [1_000, 3_000, 10_000, 30_000];
/// What may be lost, in points, by several routers and by one of them that begins anew half-way.
const GOAL: f64 = 2.0;
/// How many times as long a first token may take then, at the ninth decile.
const LONGER: f64 = 1.1;

/// The figure.
pub(super) fn figure() -> Figure {
    Figure {
        name: "routing-replicas",
        claim: "points of blocks found that 2 and 4 routers lose against one, by ADR 10's rule, and one of them that begins anew; no call fails or breaks while routers and an engine die and restart, but those that ran on who died",
        kind: Kind::Correctness,
        measure: |stack, tier| Box::pin(measure(stack, tier)),
    }
}

async fn measure(stack: Stack, tier: Tier) -> anyhow::Result<Reading> {
    let live = live::measure(&stack, tier).await?;
    let (requests, _) = requests()?;
    let lost = model(&requests, tier);
    let mut holds = lost.points <= GOAL && lost.anew <= GOAL && lost.longer <= LONGER;
    holds &= live.wrong == 0 && live.cold == 0;
    let mut processes = String::new();
    if tier == Tier::Full {
        let loss = shares::measure(&stack, &requests).await?;
        holds &= loss.points <= GOAL && loss.failed == 0;
        holds &= loss.killed.holds() && loss.disturbed.holds();
        processes = format!(
            ", {:.1} as processes with {} calls failed, {:.1} more by one that is killed and starts again, with {} failed; {} and {} failed by an engine's death and a router's restart",
            loss.points,
            loss.failed,
            loss.killed.points,
            loss.killed.failed,
            loss.disturbed.by_death,
            loss.disturbed.by_restart
        );
    }
    Ok(Reading {
        figure: format!("{:.1} / {:.1}", lost.points, lost.anew),
        unit: format!(
            "points lost at most by what begins alike going to one of 2 or 4 routers / by one of them that begins anew half-way, modelled{processes}; {} calls failed or broke ({} more died with a router or an engine, left out after {:.2?}); as much found as before {:.1?} after a router was used again",
            live.wrong, live.excused, live.left_out, live.warm
        ),
        goal: format!("<= {GOAL} / {GOAL}, 0, {WARM:?}"),
        holds,
    })
}

/// What is lost in the model, at most.
#[derive(Default)]
struct Lost {
    /// Points of blocks found, by several routers beside one.
    points: f64,
    /// More points, where one of them begins anew.
    anew: f64,
    /// How many times as long a first token takes then, at the ninth decile.
    longer: f64,
}

/// What is lost by ADR 10's rule.
fn model(requests: &[Request], tier: Tier) -> Lost {
    println!(
        "  {} requests; routers and engines are modelled, in virtual time",
        requests.len()
    );
    println!(
        "  blocks  routers  calls come          found  first token p50     p90  busiest router"
    );
    let half = requests.get(requests.len() / 2);
    let half = half.map(|request| Duration::from_millis(request.timestamp));
    let mut lost = Lost::default();
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
            let calm = model.replay(requests);
            print(&model, &calm);
            match (routers, way) {
                (1, _) => alone = calm.hit,
                (_, Way::ByBeginning) => {
                    lost.points = lost.points.max(alone - calm.hit);
                    let model = Model {
                        begins_anew: half,
                        ..model
                    };
                    let anew = model.replay(requests);
                    print(&model, &anew);
                    lost.anew = lost.anew.max(calm.hit - anew.hit);
                    let [before, after] = [&calm, &anew].map(|it| it.first_token[1].as_secs_f64());
                    lost.longer = lost.longer.max(after / before);
                }
                (_, Way::InTurn) => {}
            }
        }
    }
    lost
}

fn print(model: &Model, replay: &Replay) {
    let way = match model.begins_anew {
        Some(_) => "one begins anew".to_owned(),
        None => format!("{:?}", model.way),
    };
    println!(
        "  {:>6} {:>8}  {way:<15} {:>8.1} % {:>15.2?} {:>8.2?} {:>6.2}x",
        model.blocks,
        model.routers,
        replay.hit,
        replay.first_token[0],
        replay.first_token[1],
        replay.busiest,
    );
}
