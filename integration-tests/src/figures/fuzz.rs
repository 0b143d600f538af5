//! Bytes of strangers, mutated from a seed, at every reader that gets some.

use anyhow::Context;
use tokio::task::spawn_blocking;

use super::{Figure, Kind, Reading, Tier};
use crate::fuzz::targets;

const SEED: u64 = 20_261_125;

/// The figure.
pub(super) fn figure() -> Figure {
    Figure {
        name: "fuzz",
        claim: "inputs that break the readers of streams, requests, prompts' beginnings, chunks and keys, of 10 million each",
        kind: Kind::Correctness,
        measure: |_, tier| Box::pin(measure(tier)),
    }
}

async fn measure(tier: Tier) -> anyhow::Result<Reading> {
    let runs = match tier {
        Tier::Quick => 200_000,
        Tier::Full => 10_000_000,
    };
    let running = targets().map(|target| {
        let begin = std::time::Instant::now();
        let run = spawn_blocking(move || (target.run(runs, SEED), begin.elapsed()));
        (target.name, run)
    });
    let (mut broken, mut readers) = (0, 0);
    for (name, run) in running {
        readers += 1;
        let (outcome, elapsed) = run.await.context("a run was lost")?;
        match outcome {
            Ok(done) => println!(
                "  {name:<9} {} inputs in {elapsed:.1?}, {} ways",
                done.runs, done.ways
            ),
            Err(error) => {
                broken += 1;
                println!("  {error}");
            }
        }
    }
    Ok(Reading {
        figure: broken.to_string(),
        unit: format!("of {readers} readers broken by {runs} inputs each"),
        goal: "0".to_owned(),
        holds: broken == 0,
    })
}
