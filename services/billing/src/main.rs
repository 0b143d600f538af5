//! Prices, orders, the ledger, leases, statements.

use std::{path::PathBuf, process::ExitCode, sync::Arc};

use anyhow::Context;
use base64::{Engine, engine::general_purpose::STANDARD};
use billing::{
    auditor::{Auditor, Report},
    config::Config,
    domain::{monthly_statement::cny, statement_check},
    statement_desk::StatementDesk,
};
use clap::{Args, Subcommand};
use wanwu_clock::SystemClock;
use wanwu_personal::KeyProvider;
use wanwu_service::{Service, Shell};

fn main() -> ExitCode {
    wanwu_service::run::<Billing>()
}

struct Billing;

/// What is done on the host.
#[derive(Clone, Debug, Subcommand)]
enum Host {
    /// Recomputes every balance, the chains of entries and the signed checkpoints; names what is
    /// wrong, the first row of each account, and fails then.
    Audit,
    /// Reads a monthly statement (CSV), follows its balances and verifies its signature; names the
    /// first thing that is wrong, and fails then.
    VerifyStatement(StatementFile),
}

/// What a customer brings.
#[derive(Clone, Debug, Args)]
struct StatementFile {
    /// The statement, as it was downloaded.
    file: PathBuf,
    /// Its signature, as the API answers it: Base64, or hexadecimal digits.
    #[arg(long, value_parser = bytes)]
    signature: Bytes,
    /// The public key that was published with it; absent: every key of this host.
    #[arg(long, value_parser = bytes)]
    public_key: Option<Bytes>,
}

/// One value: a bare list would be many.
#[derive(Clone, Debug)]
struct Bytes(Vec<u8>);

/// Base64, or hexadecimal digits.
fn bytes(text: &str) -> Result<Bytes, base64::DecodeError> {
    let bytes = hex::decode(text).or_else(|_| STANDARD.decode(text));
    bytes.map(Bytes)
}

impl Service for Billing {
    const NAME: &'static str = "billing";
    const DEFAULTS: &'static str = include_str!("../config.default.toml");
    type Config = Config;
    type Command = Host;

    async fn serve(config: Config, shell: Shell) -> anyhow::Result<()> {
        billing::app::App::start(config, &shell).await
    }

    async fn migrate(config: Config) -> anyhow::Result<()> {
        wanwu_postgres::migrate(&config.database, &billing::MIGRATIONS).await?;
        let pool = wanwu_postgres::connect(&config.database, Self::NAME).await?;
        let mut connection = pool.acquire().await?;
        Ok(wanwu_postgres::residency::mark(&mut connection, &config.service.region).await?)
    }

    async fn command(config: Config, command: Host) -> anyhow::Result<()> {
        match command {
            Host::Audit => audit(&config).await,
            Host::VerifyStatement(statement) => verify_statement(&config, &statement),
        }
    }
}

async fn audit(config: &Config) -> anyhow::Result<()> {
    let pool = wanwu_postgres::connect(&config.database, "billing audit").await?;
    let keys = Auditor::keys(&KeyProvider::from_file(&config.keys.file)?);
    for (id, key) in keys.public_keys() {
        print(&format!("key {id}: {}", hex::encode(key)));
    }
    let auditor = Auditor::new(pool, Arc::new(SystemClock), keys);
    let report = auditor.audit().await?;
    let Report {
        accounts,
        entries,
        unsealed,
        checkpoints,
        sum,
        wrong,
    } = report;
    print(&format!(
        "{accounts} accounts, {entries} entries ({unsealed} not sealed yet) sum to {sum}, {checkpoints} checkpoints"
    ));
    for wrong in &wrong {
        print(&format!("WRONG: {wrong}"));
    }
    anyhow::ensure!(wrong.is_empty(), "{} rows are wrong", wrong.len());
    Ok(())
}

fn verify_statement(config: &Config, statement: &StatementFile) -> anyhow::Result<()> {
    let name = statement.file.display();
    let file = std::fs::read(&statement.file).with_context(|| format!("cannot read {name}"))?;
    let signature = &statement.signature.0;
    let checked = match &statement.public_key {
        Some(Bytes(key)) => statement_check::check(&file, signature, [("given", key.as_slice())]),
        None => {
            let keys = StatementDesk::keys(&KeyProvider::from_file(&config.keys.file)?);
            statement_check::check(&file, signature, keys.public_keys())
        }
    };
    let checked = checked.with_context(|| format!("WRONG: {name}"))?;
    print(&format!(
        "{}, {}: {} lines, from {} to {}, signed by key {}",
        checked.month,
        checked.account,
        checked.lines,
        cny(checked.opening_nanos),
        cny(checked.closing_nanos),
        checked.key_id
    ));
    Ok(())
}

#[allow(
    clippy::print_stdout,
    reason = "a command's answer goes to whoever typed it"
)]
fn print(text: &str) {
    println!("{text}");
}
