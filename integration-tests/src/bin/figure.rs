//! Lists and measures the figures: `figure [NAME [--full]] [--quick-all]`.

use std::{
    path::PathBuf,
    process::ExitCode,
    time::{Duration, Instant},
};

use clap::Parser;
use integration_tests::{
    figures::{Figure, Kind, Reading, Tier, all, replay},
    stack::Stack,
};

/// A quick measurement that takes longer than this hangs. It should take 20 seconds, 90 where things are
/// killed, on two processors of its own.
const QUICK_LIMIT: Duration = Duration::from_secs(240);

/// Lists every measured claim, or measures one.
#[derive(Debug, Parser)]
struct Arguments {
    /// The figure to measure; none: all are listed.
    name: Option<String>,
    /// The whole measurement instead of the quick one.
    #[arg(long)]
    full: bool,
    /// One seed of `money-simulation` again; needs no stack.
    #[arg(long, conflicts_with_all = ["full", "quick_all"])]
    seed: Option<u64>,
    /// The quick measurement of every figure.
    #[arg(long, conflicts_with_all = ["name", "full"])]
    quick_all: bool,
    /// Figures that --quick-all leaves out: what they need is not at hand.
    #[arg(long, requires = "quick_all")]
    without: Vec<String>,
    /// Where to write a line `figure NAME: passed` for each figure that holds.
    #[arg(long, requires = "quick_all")]
    results: Option<PathBuf>,
    /// The description of the stack to measure on.
    #[arg(long, env = "WANWU_STACK", default_value = ".local/stack.json")]
    stack: PathBuf,
}

/// What a quick measurement means for the tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Holds,
    /// Slower than its goal, on this machine.
    Missed,
    Fails,
}

impl Verdict {
    fn of(kind: Kind, measured: &Result<Reading, String>) -> Self {
        match (measured, kind) {
            (Ok(reading), _) if reading.holds => Self::Holds,
            (Ok(_), Kind::Speed) => Self::Missed,
            // What was lost, changed or not there is no matter of speed.
            (Ok(_), Kind::Correctness) | (Err(_), _) => Self::Fails,
        }
    }

    const fn word(self) -> &'static str {
        match self {
            Self::Holds => "holds",
            Self::Missed => "missed (speed: printed only)",
            Self::Fails => "FAILS",
        }
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Some(seed) = arguments.seed {
        return match replay(seed) {
            true => ExitCode::SUCCESS,
            false => ExitCode::FAILURE,
        };
    }
    let figures = all();
    let Some(name) = &arguments.name else {
        if arguments.quick_all {
            return quick_all(&arguments, &figures).await;
        }
        for figure in &figures {
            println!("{:<20} {}", figure.name, figure.claim);
        }
        return ExitCode::SUCCESS;
    };
    let Some(figure) = figures.iter().find(|figure| figure.name == name) else {
        eprintln!("there is no figure {name}; `figure` lists them");
        return ExitCode::FAILURE;
    };
    let tier = if arguments.full {
        Tier::Full
    } else {
        Tier::Quick
    };
    match measure(&arguments, figure, tier).await {
        Ok(reading) if reading.holds => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

async fn quick_all(arguments: &Arguments, figures: &[Figure]) -> ExitCode {
    let mut lines = Vec::new();
    let mut passed = String::new();
    let mut failed = 0;
    for figure in figures {
        if arguments.without.iter().any(|name| name == figure.name) {
            lines.push(format!("{}: not measured", figure.name));
            continue;
        }
        println!("\n== {} ({})", figure.name, figure.claim);
        let begin = Instant::now();
        let quick = tokio::time::timeout(QUICK_LIMIT, measure(arguments, figure, Tier::Quick));
        let measured = quick
            .await
            .unwrap_or_else(|_| Err(format!("took longer than {QUICK_LIMIT:?}")));
        let verdict = Verdict::of(figure.kind, &measured);
        if verdict == Verdict::Holds {
            passed.push_str(&format!("figure {}: passed\n", figure.name));
        }
        failed += u32::from(verdict == Verdict::Fails);
        let line = line_of(figure, &measured);
        let took = begin.elapsed().as_secs();
        lines.push(format!("{line}  {} ({took} s)", verdict.word()));
    }
    println!("\nfigures:");
    for line in &lines {
        println!("  {line}");
    }
    if let Some(path) = &arguments.results
        && let Err(error) = std::fs::write(path, passed)
    {
        eprintln!("cannot write {}: {error}", path.display());
        return ExitCode::FAILURE;
    }
    if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// The reading, or why there is none.
async fn measure(arguments: &Arguments, figure: &Figure, tier: Tier) -> Result<Reading, String> {
    let stack = Stack::load(&arguments.stack).map_err(|error| format!("{error:#}"));
    let measured = match stack {
        Ok(stack) => (figure.measure)(stack, tier)
            .await
            .map_err(|error| format!("{error:#}")),
        Err(error) => Err(error),
    };
    println!("{}", line_of(figure, &measured));
    measured
}

/// The last line of a measurement.
fn line_of(figure: &Figure, measured: &Result<Reading, String>) -> String {
    match measured {
        Ok(reading) => reading.line(figure.name),
        Err(error) => format!("{}: failed: {error}", figure.name),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    // Here and not beside the list: there it would have every figure compiled a second time.
    #[test]
    fn names_are_unique_and_claims_are_lines() {
        let mut names = HashSet::new();
        for figure in all() {
            assert!(names.insert(figure.name), "{} is there twice", figure.name);
            assert!(!figure.claim.contains('\n') && !figure.claim.is_empty());
        }
    }

    #[test]
    fn only_a_missed_goal_of_speed_is_printed_and_no_more() {
        let reading = |holds| {
            Ok(Reading {
                figure: "2".to_owned(),
                unit: "ms".to_owned(),
                goal: "<= 1 ms".to_owned(),
                holds,
            })
        };
        for kind in [Kind::Correctness, Kind::Speed] {
            assert_eq!(Verdict::of(kind, &reading(true)), Verdict::Holds);
            let broken = Err("400 of 400 streams were lost".to_owned());
            assert_eq!(Verdict::of(kind, &broken), Verdict::Fails);
        }
        let missed = reading(false);
        assert_eq!(Verdict::of(Kind::Speed, &missed), Verdict::Missed);
        assert_eq!(Verdict::of(Kind::Correctness, &missed), Verdict::Fails);
    }
}
