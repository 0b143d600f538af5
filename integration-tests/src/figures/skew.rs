//! The version before beside this one: each service in turn, on the schema of this one.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, bail, ensure};
use serde_json::json;
use tokio::time::Instant;

use super::{
    Figure, Kind, Reading, Tier,
    customers::{bills, engine_truth, scripted, settled},
};
use crate::{
    journey::{Journey, ledger_sum},
    stack::{Process, SERVICES, Stack, write_private},
};

const READY: Duration = Duration::from_secs(30);
const TOP_UP_FEN: i64 = 1000;
/// Settings that a configuration may have and the version before does not know.
const MAX_UNKNOWN: usize = 50;

/// The figure.
pub(super) fn figure() -> Figure {
    Figure {
        name: "skew",
        claim: "each service in turn at the version before, on the new schema: the journey is green",
        kind: Kind::Correctness,
        measure: |stack, tier| Box::pin(measure(stack, tier)),
    }
}

async fn measure(stack: Stack, _tier: Tier) -> anyhow::Result<Reading> {
    let before = binaries(&stack)?;
    let mut green = 0;
    for service in SERVICES {
        let begin = Instant::now();
        let outcome = beside(&stack, service, &before).await;
        // Whatever happened, the stack is left as it was found.
        let current = stack.process(service);
        current.terminate()?;
        current.start()?;
        current.wait_ready(READY).await?;
        match outcome {
            Ok(()) => {
                green += 1;
                println!("  {service}: green, {:.1?}", begin.elapsed());
            }
            Err(error) => println!("  WRONG: {service}: {error:#}"),
        }
    }
    Ok(Reading {
        figure: format!("{green} of {}", SERVICES.len()),
        unit: "services at the version before are green".to_owned(),
        goal: "all".to_owned(),
        holds: green == SERVICES.len(),
    })
}

/// Where `scripts/test` puts the programs of the version before: beside the stack's folder.
fn binaries(stack: &Stack) -> anyhow::Result<PathBuf> {
    let folder = stack.description().dir.join("../previous/bin");
    folder
        .canonicalize()
        .context("the version before is not built: scripts/test build, in a clone with its history")
}

/// One service runs at the version before, and a new customer goes the whole way.
async fn beside(stack: &Stack, service: &str, before: &Path) -> anyhow::Result<()> {
    let program = before.join(service);
    let mut spec = stack.process(service).spec().clone();
    let config = stack.description().services[service].config.clone();
    let known = known_configuration(&program, &config)?;
    for argument in &mut spec.argv {
        if Path::new(argument) == config {
            *argument = known.display().to_string();
        }
    }
    spec.argv[0] = program.display().to_string();
    stack.process(service).terminate()?;
    let process = Process::new(spec);
    process.start()?;
    process.wait_ready(READY).await?;
    journey(stack).await
}

/// From an unknown number to a bill that equals what the engine sent.
async fn journey(stack: &Stack) -> anyhow::Result<()> {
    let customer = Journey::ready_to_call(stack, TOP_UP_FEN).await?;
    let answer = customer
        .chat_stream(scripted(json!({"tokens": 20})), |_| ())
        .await?;
    ensure!(answer.done, "the stream was cut");
    let whole = customer.chat(scripted(json!({"tokens": 7}))).await?;
    ensure!(!whole.text.is_empty(), "the answer was empty");
    let customers = [customer];
    settled(&customers, READY).await?;
    let truth = engine_truth(stack, &customers[0]).await?;
    let bills = bills(&customers[0]).await?;
    ensure!(bills.len() == 2, "{} bills of 2 calls", bills.len());
    for (id, lines) in &bills {
        let sent = truth.get(id).context("the engine does not know the call")?;
        ensure!(
            matches!(lines.as_slice(), [bill] if bill.output == sent.tokens && bill.input == sent.prompt),
            "{id}: {lines:?}, the engine sent {sent:?}"
        );
    }
    let (sum, _) = ledger_sum(stack).await?;
    ensure!(sum == "0", "the ledger sums to {sum}");
    Ok(())
}

/// A release carries its own configuration: what the version before does not know was not in it.
fn known_configuration(program: &Path, config: &Path) -> anyhow::Result<PathBuf> {
    let path = config.with_extension("before.toml");
    let mut table: toml::Table = std::fs::read_to_string(config)?.parse()?;
    for _ in 0..MAX_UNKNOWN {
        write_private(&path, table.to_string().as_bytes())?;
        let check = Command::new(program)
            .arg("--config")
            .arg(&path)
            .arg("check-config")
            .env_clear()
            .output()?;
        if check.status.success() {
            return Ok(path);
        }
        let said = String::from_utf8_lossy(&check.stderr).into_owned();
        let unknown = said
            .split_once("unknown field `")
            .and_then(|(_, rest)| rest.split_once('`'));
        match unknown {
            Some((field, _)) if remove(&mut table, field) => {
                println!("  {}: without `{field}`", path.display());
            }
            _ => bail!("{} refuses its configuration: {said}", program.display()),
        }
    }
    bail!(
        "{} knows too little of {}",
        program.display(),
        config.display()
    )
}

/// Removes a setting wherever it is; false: it is nowhere.
fn remove(table: &mut toml::Table, field: &str) -> bool {
    let mut found = table.remove(field).is_some();
    for (_, value) in table.iter_mut() {
        match value {
            toml::Value::Table(inner) => found |= remove(inner, field),
            toml::Value::Array(items) => {
                for item in items.iter_mut().filter_map(toml::Value::as_table_mut) {
                    found |= remove(item, field);
                }
            }
            _ => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_is_left_out_wherever_it_is() {
        let mut table: toml::Table = "a = 1\n[b]\nx = 1\ny = 2\n[[c]]\nx = 3\n".parse().unwrap();
        assert!(remove(&mut table, "x"));
        assert!(!remove(&mut table, "x"));
        assert_eq!(table, "a = 1\n[b]\ny = 2\n[[c]]\n".parse().unwrap());
    }
}
