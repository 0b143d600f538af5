//! How much of the prompts the engines find in their caches, by the real placement rules on
//! modelled engines (see [`super::routing_model`]): on the trace, and on what is held out.

mod hold_outs;
mod live;

use inference_routing::domain::placement::Policy;

use super::{
    Figure, Kind, Reading, Tier,
    routing_model::{Model, Rule},
    routing_trace::{Request, requests},
};
use crate::stack::Stack;

/// Blocks of an engine's cache, and the least share of blocks found there.
const GOALS: [(usize, f64); 4] = [(1_000, 17.0), (3_000, 30.0), (10_000, 36.0), (30_000, 36.0)];
/// The calls of the busiest engine in comparison with the mean, as processes too: where conversations stay
/// together, plain rules that spread calls as they spread work come to 1.04.
const BUSIEST: f64 = 1.1;

/// The figure.
pub(super) fn figure() -> Figure {
    Figure {
        name: "routing-hit",
        claim: "share of prompt blocks that 8 modelled engines find in their caches, by cache size",
        kind: Kind::Correctness,
        measure: |stack, tier| Box::pin(async move { measure(&stack, tier).await }),
    }
}

async fn measure(stack: &Stack, tier: Tier) -> anyhow::Result<Reading> {
    let (requests, real) = requests()?;
    let policies: &[Policy] = match tier {
        Tier::Quick => &[Policy::RoundRobin, Policy::PrefixAware],
        Tier::Full => &[Policy::RoundRobin, Policy::LeastOfTwo, Policy::PrefixAware],
    };
    println!(
        "  {} requests; engines are modelled, in virtual time",
        requests.len()
    );
    println!("  blocks  policy        found  first token p50     p90  busiest  a choice takes");
    let (mut found, mut busiest, mut holds) = (Vec::new(), 0.0_f64, true);
    for (blocks, goal) in GOALS {
        let mut in_turn = 0.0;
        for policy in policies {
            let replay = Model::of(Rule::Ours(*policy), blocks).replay(&requests);
            println!(
                "  {blocks:>6}  {:<12} {:>5.1} % {:>13.2?} {:>8.2?} {:>6.2} x {:>12.2?}",
                format!("{policy:?}"),
                replay.hit,
                replay.first_token[0],
                replay.first_token[1],
                replay.spread,
                replay.choice,
            );
            match policy {
                Policy::RoundRobin => in_turn = replay.hit,
                Policy::LeastOfTwo => {}
                Policy::PrefixAware => {
                    holds &= replay.hit >= if real { goal } else { 1.5 * in_turn };
                    holds &= replay.spread <= BUSIEST;
                    busiest = busiest.max(replay.spread);
                    found.push(format!("{:.2}", replay.hit));
                }
            }
        }
    }
    let (compared, worse) = hold_outs::measure(&requests, tier);
    holds &= worse == 0;
    let mut beside = String::new();
    if tier == Tier::Full {
        let (shown, missed) = as_processes(stack, &requests, real).await?;
        holds &= missed == 0;
        beside = format!("; as processes, and the best of others: {shown}; {missed} bounds missed");
    }
    let goal = if real {
        ">= 17 / 30 / 36 / 36 %"
    } else {
        ">= 1.5 times round robin's, load from a seed"
    };
    Ok(Reading {
        figure: found.join(" / "),
        unit: format!(
            "% of blocks found at 1 K / 3 K / 10 K / 30 K, modelled engines, the busiest with {busiest:.2} times the mean; {worse} bounds missed in {compared} comparisons with plain rules on what is held out{beside}"
        ),
        goal: format!("{goal}; the busiest <= {BUSIEST}; as good as plain rules"),
        holds,
    })
}

/// What routers find as processes, and how many bounds ours misses.
async fn as_processes(
    stack: &Stack,
    requests: &[Request],
    real: bool,
) -> anyhow::Result<(String, usize)> {
    let by_size = live::measure(stack, requests, &GOALS.map(|(size, _)| size)).await?;
    let (mut shown, mut count) = (Vec::new(), 0);
    for (one, (_, goal)) in by_size.iter().zip(GOALS) {
        shown.push(format!("{:.1} ({:.1})", one.ours.found, one.best()));
        for missed in one.missed(real.then_some(goal)) {
            println!("  WRONG: {} blocks: {missed}", one.size);
            count += 1;
        }
    }
    Ok((shown.join(" / "), count))
}
