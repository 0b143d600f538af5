//! Routes model calls to engines and bills them exactly.

use std::process::ExitCode;

use inference_routing::config::{Config, DEFAULTS};
use wanwu_service::{NoCommand, Service, Shell};

fn main() -> ExitCode {
    wanwu_service::run::<InferenceRouting>()
}

struct InferenceRouting;

impl Service for InferenceRouting {
    const NAME: &'static str = inference_routing::serve::NAME;
    const DEFAULTS: &'static str = DEFAULTS;
    type Config = Config;
    type Command = NoCommand;

    async fn serve(config: Config, shell: Shell) -> anyhow::Result<()> {
        inference_routing::serve::start(config, &shell).await
    }

    async fn migrate(config: Config) -> anyhow::Result<()> {
        wanwu_postgres::migrate(&config.database, &inference_routing::MIGRATIONS).await?;
        let pool = wanwu_postgres::connect(&config.database, Self::NAME).await?;
        Ok(wanwu_postgres::residency::mark_pool(pool, config.service.region).await?)
    }

    async fn command(_: Config, command: NoCommand) -> anyhow::Result<()> {
        match command {}
    }
}
