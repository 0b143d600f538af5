//! The smallest service: a shell and nothing in it but what a test asks for.

use std::{process::ExitCode, time::Duration};

use clap::Subcommand;
use serde::Deserialize;
use wanwu_service::{AdminConfig, Configuration, ProcessConfig, Service, Shell};
use wanwu_telemetry::TelemetryConfig;

fn main() -> ExitCode {
    wanwu_service::run::<Smallest>()
}

struct Smallest;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    service: ProcessConfig,
    admin: AdminConfig,
    telemetry: TelemetryConfig,
    behaviour: Behaviour,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Behaviour {
    task: String,
    provider_url: String,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Says hello.
    Greet { name: String },
}

impl Configuration for Config {
    fn service(&self) -> &ProcessConfig {
        &self.service
    }

    fn admin(&self) -> &AdminConfig {
        &self.admin
    }

    fn telemetry(&self) -> &TelemetryConfig {
        &self.telemetry
    }

    fn problems(&self) -> Vec<String> {
        let environment = self.service.environment;
        let address = &self.behaviour.provider_url;
        environment
            .provider_problem("behaviour.provider_url", address)
            .into_iter()
            .collect()
    }
}

impl Service for Smallest {
    const NAME: &'static str = "smallest";
    const DEFAULTS: &'static str = r#"
        [service]
        environment = "local"
        region = "cn-north-1"
        [admin]
        listen = "127.0.0.1:0"
        [telemetry]
        [behaviour]
        task = "until told"
        provider_url = "http://127.0.0.1:9001/?password=hunter2"
    "#;

    type Config = Config;
    type Command = Command;

    async fn serve(config: Config, shell: Shell) -> anyhow::Result<()> {
        let stop = shell.stopping();
        match config.behaviour.task.as_str() {
            "fails" => shell.spawn("task", async {
                Err::<(), _>(anyhow::anyhow!("the reason"))
            }),
            "panics" => shell.spawn_infallible("task", async { panic!("13800138000") }),
            "ends" => shell.spawn_infallible("task", async {}),
            "never ends" => shell.spawn_infallible("task", std::future::pending()),
            "is not ready" => {
                let latch = shell.latch();
                shell.spawn_infallible("task", async move {
                    stop.cancelled().await;
                    drop(latch);
                });
            }
            "finishes" => shell.spawn_infallible("task", async move {
                stop.cancelled().await;
                tokio::time::sleep(Duration::from_millis(300)).await;
                tracing::info!("finished its work");
            }),
            "cannot start" => anyhow::bail!("no database"),
            _ => shell.spawn_infallible("task", async move { stop.cancelled().await }),
        }
        Ok(())
    }

    async fn migrate(_: Config) -> anyhow::Result<()> {
        Ok(())
    }

    async fn command(_: Config, command: Command) -> anyhow::Result<()> {
        match command {
            Command::Greet { name } => println!("hello {name}"),
        }
        Ok(())
    }
}
