//! Pools and loads that no goal of ours names, and by which placement's weights need not be right: other
//! numbers of engines, halves of the trace, conversations from seeds. Beside ours stand engines in turn and
//! the plain rule, (new blocks + 1) x (load + 1), for both things that load can be.

use std::time::Duration;

use inference_routing::domain::placement::Policy;

use super::super::{
    Tier,
    routing_model::{Load, Model, Replay, Rule},
    routing_trace::{Request, conversations, halves},
};

/// Who stands beside ours.
const OTHERS: [Rule; 3] = [
    Rule::Ours(Policy::RoundRobin),
    Rule::Plain(Load::Recent),
    Rule::Plain(Load::Running),
];
/// Points that the best of the others may find more: what the same rule differs by from one load to one
/// that is nearly the same.
const BELOW: f64 = 0.5;
/// How many times as long as by the quickest of the others a first token may take, at the ninth decile.
const LONGER: f64 = 1.1;
/// The calls of the busiest engine in comparison with the mean. Where engines have more to do than they
/// can, work is spread, and calls less.
const BUSIEST: f64 = 1.2;

/// Engines and a load.
struct HoldOut {
    name: String,
    engines: usize,
    requests: Vec<Request>,
}

/// What they showed with caches of one size.
struct Compared {
    ours: Replay,
    others: Vec<Replay>,
}

/// Compares everywhere; answers how many comparisons there were, and how many bounds ours misses.
pub(super) fn measure(requests: &[Request], tier: Tier) -> (usize, usize) {
    let sizes: &[usize] = match tier {
        Tier::Quick => &[3_000, 10_000],
        Tier::Full => &[1_000, 3_000, 10_000, 30_000],
    };
    println!(
        "  held out; beside ours: in turn, (new + 1) x (recent + 1), (new + 1) x (running + 1)"
    );
    println!("  load              engines  blocks   found in %, p90 of the first token  busiest");
    let (mut compared, mut count) = (0, 0);
    for hold_out in hold_outs(requests, tier) {
        for blocks in sizes.iter().copied() {
            let shown = hold_out.compare(blocks);
            let (name, engines) = (&hold_out.name, hold_out.engines);
            println!("  {name:<17} {engines:>7} {blocks:>7}   {}", shown.words());
            for missed in shown.missed() {
                println!("  WRONG: {name}, {engines} engines, {blocks} blocks: {missed}");
                count += 1;
            }
            compared += 1;
        }
    }
    (compared, count)
}

fn hold_outs(requests: &[Request], tier: Tier) -> Vec<HoldOut> {
    let (engines, seeds): (&[usize], _) = match tier {
        Tier::Quick => (&[4, 16], 1..=1),
        Tier::Full => (&[4, 6, 12, 16], 1..=3),
    };
    let hold_out = |name: String, engines, requests| HoldOut {
        name,
        engines,
        requests,
    };
    let mut all = Vec::new();
    for engines in engines.iter().copied() {
        all.push(hold_out("all".to_owned(), engines, requests.to_vec()));
    }
    let [first, second] = halves(requests);
    all.push(hold_out("the first half".to_owned(), 8, first));
    all.push(hold_out("the second half".to_owned(), 8, second));
    for seed in seeds {
        let requests = conversations(seed);
        all.push(hold_out(format!("from seed {seed}"), 8, requests));
    }
    if tier == Tier::Full {
        all.push(hold_out("from seed 4".to_owned(), 16, conversations(4)));
    }
    all
}

impl HoldOut {
    fn compare(&self, blocks: usize) -> Compared {
        let replay = |rule| {
            let model = Model {
                engines: self.engines,
                ..Model::of(rule, blocks)
            };
            model.replay(&self.requests)
        };
        Compared {
            ours: replay(Rule::Ours(Policy::PrefixAware)),
            others: OTHERS.map(replay).into(),
        }
    }
}

impl Compared {
    /// Ours first, then the others.
    fn words(&self) -> String {
        let all = || [&self.ours].into_iter().chain(&self.others);
        let hits: Vec<_> = all().map(|it| format!("{:.2}", it.hit)).collect();
        let ninths = all().map(|it| format!("{:.1?}", it.first_token[1]));
        let ninths: Vec<_> = ninths.collect();
        format!(
            "{}, {}  {:.2} x",
            hits.join(" / "),
            ninths.join(" / "),
            self.ours.spread
        )
    }

    /// What ours misses, in words.
    fn missed(&self) -> Vec<String> {
        let best = self.others.iter().map(|other| other.hit);
        let best = best.fold(0.0, f64::max);
        let quickest = self.others.iter().map(|other| other.first_token[1]).min();
        let quickest = quickest.unwrap_or(Duration::MAX);
        let (ours, ninth) = (&self.ours, self.ours.first_token[1]);
        let mut missed = Vec::new();
        if ours.hit + BELOW < best {
            missed.push(format!("{:.2} % found, {best:.2} by another", ours.hit));
        }
        if ninth.as_secs_f64() > LONGER * quickest.as_secs_f64() {
            missed.push(format!(
                "first token after {ninth:.2?}, another's {quickest:.2?} (p90)"
            ));
        }
        if ours.spread > BUSIEST {
            let spread = ours.spread;
            missed.push(format!(
                "the busiest engine gets {spread:.2} times the mean"
            ));
        }
        missed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(hit: f64, ninth_ms: u64, spread: f64) -> Replay {
        Replay {
            hit,
            first_token: [Duration::from_millis(1), Duration::from_millis(ninth_ms)],
            spread,
            busiest: 1.0,
            choice: Duration::ZERO,
        }
    }

    #[test]
    fn ours_may_be_a_little_worse_than_the_best_of_each_and_no_more() {
        let missed = |ours| {
            let others = vec![shown(30.0, 5_000, 1.0), shown(29.0, 4_000, 1.4)];
            Compared { ours, others }.missed().len()
        };
        assert_eq!(missed(shown(29.6, 4_300, 1.19)), 0);
        assert_eq!(missed(shown(29.4, 4_300, 1.0)), 1);
        assert_eq!(missed(shown(29.4, 4_500, 1.3)), 3);
    }

    #[test]
    fn in_turn_each_engine_gets_as_many_calls() {
        let hold_out = HoldOut {
            name: String::new(),
            engines: 4,
            requests: conversations(9)[..400].to_vec(),
        };
        let shown = hold_out.compare(1_000);
        assert_eq!(shown.others.len(), OTHERS.len());
        assert!((shown.others[0].spread - 1.0).abs() < 1e-9);
    }
}
