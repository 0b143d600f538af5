//! The official OpenAI packages of Python and npm, and grpcurl, unmodified, as clients.

use std::{path::Path, process::Stdio};

use anyhow::Context;
use tokio::process::Command;

use super::{Figure, Kind, Reading, Tier};
use crate::{journey::Journey, stack::Stack};

const REPOSITORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
/// What the cases of each client are called before their names, and how many there are. Python's have nothing
/// before theirs.
const CLIENTS: [(&str, usize); 3] = [("grpcurl_", 3), ("node_", 13), ("", 48)];

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
    let failed = text.lines().filter(|it| it.starts_with("FAILED ")).count();
    let by_client = passed(&text);
    let passed: usize = by_client.iter().sum();
    let least: usize = CLIENTS.iter().map(|(_, least)| least).sum();
    let [grpcurl, node, python] = by_client;
    Ok(Reading {
        figure: format!("{passed} of {}", passed + failed),
        unit: format!("cases: {grpcurl} of grpcurl, {python} of Python, {node} of npm"),
        goal: format!("all, and at least {least}"),
        holds: output.status.success() && failed == 0 && is_whole(by_client),
    })
}

/// Cases that passed, of each client.
fn passed(text: &str) -> [usize; 3] {
    let mut by_client = [0; 3];
    for case in text.lines().filter_map(|it| it.strip_prefix("passed ")) {
        let client = CLIENTS.iter().position(|(name, _)| case.starts_with(name));
        by_client[client.unwrap_or(CLIENTS.len() - 1)] += 1;
    }
    by_client
}

/// No case of any client is missing.
fn is_whole(by_client: [usize; 3]) -> bool {
    let mut clients = by_client.iter().zip(CLIENTS);
    clients.all(|(passed, (_, least))| *passed >= least)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cases_of_one_client_do_not_stand_in_for_those_of_another() {
        let said = "passed grpcurl_a\npassed node_b\npassed c\nFAILED node_d: why\npassed e\nopenai 1: 2 of 2 cases";
        assert_eq!(passed(said), [1, 1, 2]);
        assert!(is_whole([3, 13, 48]));
        for missing in [[2, 13, 49], [3, 12, 48], [3, 13, 47], [3, 0, 61]] {
            assert!(!is_whole(missing), "{missing:?}");
        }
    }
}
