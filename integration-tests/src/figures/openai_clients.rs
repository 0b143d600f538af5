//! The official OpenAI packages of Python and npm, and grpcurl, unmodified, as clients.

use std::{path::Path, process::Stdio};

use anyhow::Context;
use tokio::process::Command;

use super::{Figure, Kind, Reading, Tier};
use crate::{journey::Journey, stack::Stack};

const REPOSITORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// The figure.
pub(super) fn figure() -> Figure {
    Figure {
        name: "openai-clients",
        claim: "the official openai packages of Python and npm chat, complete, respond and embed, stream, list models and get typed errors; grpcurl lists and calls",
        kind: Kind::Correctness,
        measure: |stack, tier| Box::pin(measure(stack, tier)),
    }
}

async fn measure(stack: Stack, _: Tier) -> anyhow::Result<Reading> {
    let mut rich = Journey::ready_to_call(&stack, 1000).await?;
    rich.key_for(&["chat", "embedding"]).await?;
    let mut poor = Journey::new(&stack);
    poor.register().await?;
    poor.verify_real_name().await?;
    poor.app("x").await?;
    poor.key().await?;
    let script = Path::new(REPOSITORY).join("scripts/ci/openai-clients");
    let output = Command::new(script)
        .env("WANWU_BASE_URL", format!("{}/v1", rich.api().base()))
        .env("WANWU_KEY", rich.secret())
        .env("WANWU_POOR_KEY", poor.secret())
        .env("WANWU_ENGINE", stack.simulator("engine"))
        .stdin(Stdio::null())
        .output()
        .await
        .context("scripts/ci/openai-clients cannot be run")?;
    let text = String::from_utf8_lossy(&output.stdout);
    for line in text.lines() {
        println!("  {line}");
    }
    eprintln!("{}", String::from_utf8_lossy(&output.stderr).trim_end());
    let count = |verdict: &str| {
        text.lines()
            .filter(|line| line.starts_with(verdict))
            .count()
    };
    let (passed, failed) = (count("passed "), count("FAILED "));
    Ok(Reading {
        figure: format!("{passed} of {}", passed + failed),
        unit: "cases".to_owned(),
        goal: "all".to_owned(),
        holds: output.status.success() && failed == 0 && passed >= 40,
    })
}
