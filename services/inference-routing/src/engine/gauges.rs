//! What is shown of an engine by metrics.

use crate::domain::{engine_report::EngineReport, placement::SlotState};

/// Shows how many engines of a model are known: where there is none, no engine has a series of its own.
pub(super) fn show_count(model: &str, engines: usize) {
    metrics::gauge!("inference_routing_engines", "model" => model.to_owned()).set(engines as f64);
}

/// Shows how an engine stands. The last one standing, which gets calls whatever becomes of them, is well
/// only while they are answered.
pub fn show_gauges(model: &str, url: &str, state: SlotState, running: u32) {
    let gauges = [
        ("inference_routing_engine_well", state == SlotState::Active),
        (
            "inference_routing_engine_draining",
            state == SlotState::Draining,
        ),
    ];
    for (name, is) in gauges {
        metrics::gauge!(name, "model" => model.to_owned(), "engine" => url.to_owned()).set(if is {
            1.0
        } else {
            0.0
        });
    }
    metrics::gauge!("inference_routing_engine_running",
        "model" => model.to_owned(), "engine" => url.to_owned())
    .set(f64::from(running));
}

/// Shows how many blocks of prompts are remembered of an engine.
pub(super) fn show_blocks(model: &str, url: &str, blocks: usize) {
    metrics::gauge!("inference_routing_prefix_blocks",
        "model" => model.to_owned(), "engine" => url.to_owned())
    .set(blocks as f64);
}

/// Shows what an engine says of itself, and the share of prompts that it found in its cache.
pub(super) fn show_report(model: &str, url: &str, report: &EngineReport, found: Option<f64>) {
    let said = [
        ("running", Some(f64::from(report.running))),
        ("waiting", Some(f64::from(report.waiting))),
        ("cache_usage", report.cache_usage),
        ("found", found),
    ];
    for (what, value) in said {
        if let Some(value) = value {
            metrics::gauge!("inference_routing_engine_reported", "model" => model.to_owned(),
                "engine" => url.to_owned(), "what" => what)
            .set(value);
        }
    }
}

/// Shows that an engine is not there any more.
pub(super) fn forget_gauges(model: &str, url: &str) {
    tracing::info!(model, engine.url = url, "an engine left");
    show_gauges(model, url, SlotState::Draining, 0);
    show_blocks(model, url, 0);
}
