//! Prices, orders, the ledger, leases, statements.

use std::process::ExitCode;

use billing::config::Config;
use wanwu_service::{NoCommand, Service, Shell};

fn main() -> ExitCode {
    wanwu_service::run::<Billing>()
}

struct Billing;

impl Service for Billing {
    const NAME: &'static str = "billing";
    const DEFAULTS: &'static str = include_str!("../config.default.toml");
    type Config = Config;
    type Command = NoCommand;

    async fn serve(config: Config, shell: Shell) -> anyhow::Result<()> {
        billing::app::App::start(config, &shell).await
    }

    async fn migrate(config: Config) -> anyhow::Result<()> {
        wanwu_postgres::migrate(&config.database, &billing::MIGRATIONS).await?;
        let pool = wanwu_postgres::connect(&config.database, Self::NAME).await?;
        let mut connection = pool.acquire().await?;
        Ok(wanwu_postgres::residency::mark(&mut connection, &config.service.region).await?)
    }

    async fn command(_: Config, command: NoCommand) -> anyhow::Result<()> {
        match command {}
    }
}
