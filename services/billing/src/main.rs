//! Prices, orders, the ledger, leases, statements.

use std::{process::ExitCode, sync::Arc};

use billing::{
    auditor::{Auditor, Report},
    config::Config,
};
use clap::Subcommand;
use wanwu_clock::SystemClock;
use wanwu_personal::KeyProvider;
use wanwu_service::{Service, Shell};

fn main() -> ExitCode {
    wanwu_service::run::<Billing>()
}

struct Billing;

/// What is done on the host.
#[derive(Clone, Copy, Debug, Subcommand)]
enum Host {
    /// Recomputes every balance, the chains of entries and the signed checkpoints; names what is
    /// wrong, the first row of each account, and fails then.
    Audit,
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

#[allow(
    clippy::print_stdout,
    reason = "a command's answer goes to whoever typed it"
)]
fn print(text: &str) {
    println!("{text}");
}
