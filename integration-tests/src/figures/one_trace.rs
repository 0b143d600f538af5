//! One trace shows the request, the call and the consumer of its usage.

use std::{collections::BTreeSet, time::Duration};

use serde_json::json;

use super::{Figure, Kind, Reading, Tier, customers::scripted};
use crate::{
    journey::{Journey, wait_for_trace},
    stack::Stack,
    trace::tree,
};

const EXPECTED: [(&str, &str); 4] = [
    ("edge", "server"),
    ("inference-routing", "server"),
    ("billing", "server"),
    ("billing", "consumer"),
];

/// The call, and what it is made of, whether it waits or not.
const STEPS: [&str; 7] = [
    "chat scripted",
    "inference.screen",
    "inference.dispatch_commit",
    "inference.attempt",
    "inference.first_token",
    "inference.stream",
    "inference.final_commit",
];

/// The figure.
pub(super) fn figure() -> Figure {
    Figure {
        name: "one-trace",
        claim: "one trace with spans from edge, inference-routing, billing and the consumer of the usage",
        kind: Kind::Correctness,
        measure: |stack, tier| Box::pin(measure(stack, tier)),
    }
}

async fn measure(stack: Stack, _: Tier) -> anyhow::Result<Reading> {
    let journey = Journey::ready_to_call(&stack, 100).await?;
    let answer = journey
        .chat_stream(scripted(json!({"tokens": 5})), |_| ())
        .await?;
    let limit = Duration::from_secs(15);
    let spans = wait_for_trace(&stack, &answer.trace_id, &EXPECTED, limit).await?;
    for line in tree(&spans) {
        println!("  {line}");
    }
    let told = |name: &str| {
        let mut values = spans.iter().filter_map(|span| span.attributes.get(name));
        values.next().cloned().unwrap_or_default()
    };
    let conventions = [
        ("gen_ai.operation.name", "chat"),
        ("gen_ai.provider.name", "wanwu"),
        ("gen_ai.request.model", "scripted"),
        ("gen_ai.usage.output_tokens", "5"),
    ];
    let scores = told("placement.scores");
    println!("  an engine was chosen by: {scores}");
    let chosen = scores.contains("score=");
    // A list, as text.
    let ended = told("gen_ai.response.finish_reasons").contains("\"stop\"");
    let told = ended && conventions.iter().all(|(name, value)| told(name) == *value);
    println!("  the conventions for generative AI are met: {told}");
    let step = |name: &str| spans.iter().any(|span| span.name == name);
    let steps = STEPS.iter().all(|name| step(name));
    println!("  every step of the call is there: {steps}");
    let services: BTreeSet<_> = spans.iter().map(|span| span.service.clone()).collect();
    Ok(Reading {
        figure: services.len().to_string(),
        unit: "services in one trace".to_owned(),
        goal: ">= 3, the consumer among them, with each step, the scores of the choice and the gen_ai attributes".to_owned(),
        holds: services.len() >= 3 && told && steps && chosen,
    })
}
