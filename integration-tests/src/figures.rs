//! Every measured claim of the project, one a file, each by a name that `scripts/figure` knows.
//!
//! A figure measures real parts on a running stack and says whether its goal holds. Figures of
//! correctness fail `scripts/test`; a goal of speed that is missed is printed. What cannot be measured
//! fails it, whatever its kind.

mod arrivals;
mod bad_engine;
mod cancel;
mod customers;
mod fairness;
mod forger;
mod full;
mod fuzz;
mod kill_each;
mod limits;
mod memory;
mod model_path;
mod money_callbacks;
mod money_crash_points;
mod money_cut_streams;
mod money_foreign_signatures;
mod money_forgery;
mod money_idempotency;
mod money_kill_loop;
mod money_prepaid;
mod money_reconciliation;
mod money_router;
mod money_simulation;
mod money_throughput;
mod money_two_channels;
mod money_usage;
mod one_trace;
mod openai_clients;
mod overhead;
mod overload;
mod paid_orders;
mod paid_streams;
mod peers;
mod planted_values;
mod revocation;
mod rig;
mod routing_hit;
mod routing_model;
mod routing_replicas;
mod routing_trace;
mod skew;
mod storm;
mod streaming;
mod trace_replay;

use std::{future::Future, pin::Pin};

use crate::stack::Stack;

pub use money_simulation::replay;

/// What is measured.
#[derive(Clone, Copy, Debug)]
pub struct Figure {
    /// Its name: `kill-each`.
    pub name: &'static str,
    /// What it claims, in one line.
    pub claim: &'static str,
    /// Whether it can fail the tests.
    pub kind: Kind,
    /// How it is measured.
    pub measure: Measure,
}

/// Whether a figure can fail the tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Right or wrong: fails them.
    Correctness,
    /// Faster or slower on this machine: a missed goal is printed only.
    Speed,
}

/// How long one may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tier {
    /// At most 20 seconds, 90 where things are killed.
    Quick,
    /// As long as the whole claim takes.
    Full,
}

/// Measures on a stack. Progress goes to standard output.
pub type Measure = fn(Stack, Tier) -> Pin<Box<dyn Future<Output = anyhow::Result<Reading>> + Send>>;

/// What was measured.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    /// The figure, as it is printed: `0.42`.
    pub figure: String,
    /// Its unit: `ms`.
    pub unit: String,
    /// What it should be: `< 1 ms`.
    pub goal: String,
    /// It is.
    pub holds: bool,
}

impl Reading {
    /// The last line of a measurement.
    #[must_use]
    pub fn line(&self, name: &str) -> String {
        let Self {
            figure, unit, goal, ..
        } = self;
        format!("{name}: {figure} {unit} (goal {goal})")
    }
}

/// All of them, by name. A new figure is a file in `figures/` and a line here.
#[must_use]
pub fn all() -> Vec<Figure> {
    vec![
        cancel::figure(),
        kill_each::figure(),
        money_crash_points::figure(),
        money_cut_streams::figure(),
        money_idempotency::figure(),
        money_kill_loop::figure(),
        money_prepaid::figure(),
        money_reconciliation::figure(),
        money_simulation::sensitivity(),
        money_simulation::simulation(),
        money_throughput::figure(),
        money_usage::figure(),
        money_callbacks::figure(),
        money_foreign_signatures::figure(),
        money_forgery::figure(),
        money_two_channels::figure(),
        one_trace::figure(),
        openai_clients::figure(),
        overhead::figure(),
        planted_values::figure(),
        revocation::figure(),
        skew::figure(),
        streaming::figure(),
        routing_hit::figure(),
        routing_replicas::figure(),
        bad_engine::figure(),
        storm::figure(),
        limits::figure(),
        fairness::figure(),
        overload::figure(),
        memory::figure(),
        fuzz::figure(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_says_figure_and_goal() {
        let reading = Reading {
            figure: "0".to_owned(),
            unit: "wrong bills".to_owned(),
            goal: "0".to_owned(),
            holds: true,
        };
        assert_eq!(
            reading.line("kill-each"),
            "kill-each: 0 wrong bills (goal 0)"
        );
    }
}
