//! Agreements, consents, guardians.

use std::process::ExitCode;

use privacy::config::Config;
use wanwu_service::{NoCommand, Service, Shell};

fn main() -> ExitCode {
    wanwu_service::run::<Privacy>()
}

struct Privacy;

impl Service for Privacy {
    const NAME: &'static str = "privacy";
    const DEFAULTS: &'static str = include_str!("../config.default.toml");
    type Config = Config;
    type Command = NoCommand;

    async fn serve(config: Config, shell: Shell) -> anyhow::Result<()> {
        privacy::app::App::start(config, &shell).await
    }

    async fn migrate(config: Config) -> anyhow::Result<()> {
        wanwu_postgres::migrate(&config.database, &privacy::MIGRATIONS).await?;
        let pool = wanwu_postgres::connect(&config.database, Self::NAME).await?;
        let mut connection = pool.acquire().await?;
        Ok(wanwu_postgres::residency::mark(&mut connection, &config.service.region).await?)
    }

    async fn command(_: Config, command: NoCommand) -> anyhow::Result<()> {
        match command {}
    }
}
