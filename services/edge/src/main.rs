//! The process of the edge.

use std::{process::ExitCode, sync::Arc};

use edge::{App, Config, DEFAULTS};
use wanwu_clock::SystemClock;
use wanwu_ids::Ids;
use wanwu_service::{NoCommand, Service, Shell};

struct EdgeService;

impl Service for EdgeService {
    const NAME: &'static str = "edge";
    const DEFAULTS: &'static str = DEFAULTS;
    type Config = Config;
    type Command = NoCommand;

    async fn serve(config: Config, shell: Shell) -> anyhow::Result<()> {
        let app = App::build(
            config,
            Arc::new(SystemClock),
            Ids::system(),
            shell.draining(),
        )
        .await?;
        tracing::info!(address = %app.address(), "listening");
        for (name, task) in app.tasks(&shell.stopping()) {
            shell.spawn_infallible(name, task);
        }
        Ok(())
    }

    async fn migrate(_config: Config) -> anyhow::Result<()> {
        // There is no database.
        Ok(())
    }

    async fn command(_config: Config, command: NoCommand) -> anyhow::Result<()> {
        match command {}
    }
}

fn main() -> ExitCode {
    wanwu_service::run::<EdgeService>()
}
