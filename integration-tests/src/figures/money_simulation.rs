//! Seeds of the model of money, and the bugs that it must notice.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Instant,
};

use billing::domain::model::{Bug, Course, Violation, run};

use super::{Figure, Kind, Reading, Tier};

/// Seeds that a bug may hide from.
const HIDDEN: u64 = 20_000;
/// A violation and the seed that shows it.
type Found = Option<(u64, Violation)>;

/// The figure of the seeds.
pub(super) fn simulation() -> Figure {
    Figure {
        name: "money-simulation",
        claim: "money as a seeded model of ledger, outbox, inbox and provider: no seed breaks it",
        kind: Kind::Correctness,
        measure: |_, tier| Box::pin(simulate(tier)),
    }
}

/// The figure of the bugs.
pub(super) fn sensitivity() -> Figure {
    Figure {
        name: "money-sensitivity",
        claim: "each bug that is planted in the model of money is noticed by it",
        kind: Kind::Correctness,
        measure: |_, _| Box::pin(sense()),
    }
}

/// Goes the way of one seed again and says what it finds; `true`: it holds.
#[must_use]
pub fn replay(seed: u64) -> bool {
    match run(seed, None) {
        Ok(course) => println!("seed {seed} holds: {course:?}"),
        Err(violation) => {
            println!("seed {seed}: {violation}");
            return false;
        }
    }
    true
}

async fn simulate(tier: Tier) -> anyhow::Result<Reading> {
    let seeds = match tier {
        Tier::Quick => 10_000,
        Tier::Full => 1_000_000,
    };
    let begin = Instant::now();
    let (all, wrong) = tokio::task::spawn_blocking(move || sweep(seeds)).await?;
    for (seed, violation) in wrong.iter().take(10) {
        println!("  WRONG: {violation} (again: figure money-simulation --seed {seed})");
    }
    println!(
        "  {seeds} seeds in {:.1?}: {} steps, {} deaths, {} credits, {} bills",
        begin.elapsed(),
        all[0],
        all[1],
        all[2],
        all[3]
    );
    Ok(Reading {
        figure: wrong.len().to_string(),
        unit: format!("violations in {seeds} seeds"),
        goal: "0".to_owned(),
        // A model in which nothing happens proves nothing.
        holds: wrong.is_empty() && all[2] > seeds && all[3] > seeds,
    })
}

/// Every seed, on two threads; the sums of what happened.
fn sweep(seeds: u64) -> ([u64; 4], Vec<(u64, Violation)>) {
    let next = AtomicU64::new(0);
    let worker = || {
        let (mut all, mut wrong) = ([0; 4], Vec::new());
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds {
                return (all, wrong);
            }
            match run(seed, None) {
                Ok(course) => add(&mut all, course),
                Err(violation) => wrong.push((seed, violation)),
            }
        }
    };
    std::thread::scope(|scope| {
        let other = scope.spawn(worker);
        let (mut all, mut wrong) = worker();
        // A panic of the other half is a panic of the whole.
        let (half, more) = other
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        for (sum, part) in all.iter_mut().zip(half) {
            *sum += part;
        }
        wrong.extend(more);
        wrong.sort_by_key(|(seed, _)| *seed);
        (all, wrong)
    })
}

fn add(all: &mut [u64; 4], course: Course) {
    let parts = [course.steps, course.crashes, course.credited, course.billed];
    for (sum, part) in all.iter_mut().zip(parts) {
        *sum += u64::from(part);
    }
}

async fn sense() -> anyhow::Result<Reading> {
    let search = || {
        let first = |bug| (0..HIDDEN).find_map(|seed| Some((seed, run(seed, Some(bug)).err()?)));
        Bug::ALL.map(|bug| (bug, first(bug)))
    };
    let found: Vec<(Bug, Found)> = tokio::task::spawn_blocking(search).await?.into();
    let mut noticed = 0;
    for (bug, first) in &found {
        match first {
            Some((seed, violation)) => {
                noticed += 1;
                println!("  {bug:?}: seed {seed}: {violation}");
            }
            None => println!("  MISSED: {bug:?} in {HIDDEN} seeds"),
        }
    }
    let all = found.len();
    Ok(Reading {
        figure: format!("{noticed} of {all}"),
        unit: "planted bugs noticed".to_owned(),
        goal: format!("{all} of {all}"),
        holds: noticed == all && all >= 25,
    })
}
