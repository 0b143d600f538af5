use std::{future::Future, process::ExitCode, time::Duration};

use anyhow::Context;
use clap::{CommandFactory, FromArgMatches, Subcommand};
use futures::{FutureExt, future::BoxFuture};
use tokio::runtime::{Builder, Runtime};
use tokio_util::sync::CancellationToken;
use wanwu_telemetry::{Metrics, TelemetryConfig};

use crate::{
    AdminConfig, Configuration, ProcessConfig, Shell,
    admin::{self, Admin},
    cli::{Cli, Command},
    drain,
    load::load,
    signals::Signals,
};

/// What a service is. `main` is [`run`] of it.
pub trait Service: 'static {
    /// The name, as in certificates and telemetry: `inference-routing`.
    const NAME: &'static str;

    /// The embedded `config.default.toml`: every key with its default and a comment.
    const DEFAULTS: &'static str;

    /// The configuration.
    type Config: Configuration;

    /// Commands of its own; [`NoCommand`](crate::NoCommand) for none.
    type Command: Subcommand + Send;

    /// Builds the service and starts its tasks on the shell. When it returns, the process is
    /// ready, but for latches.
    fn serve(config: Self::Config, shell: Shell)
    -> impl Future<Output = anyhow::Result<()>> + Send;

    /// Brings the database to the schema of this build; nothing for a service without one.
    fn migrate(config: Self::Config) -> impl Future<Output = anyhow::Result<()>> + Send;

    /// Runs one of its own commands.
    fn command(
        config: Self::Config,
        command: Self::Command,
    ) -> impl Future<Output = anyhow::Result<()>> + Send;
}

/// Bad usage, configuration included (`EX_USAGE` of sysexits).
const USAGE: u8 = 64;

/// A runtime thread that never yields must not keep the process from ending.
const RUNTIME_END: Duration = Duration::from_secs(1);

/// How often observations of histograms are moved into their buckets.
const METRICS_UPKEEP: Duration = Duration::from_secs(5);

/// Runs the process of a service, from its command line to its exit code: 0 for a good end, 64
/// for a configuration that cannot be used, 1 for everything else.
#[must_use]
pub fn run<S: Service>() -> ExitCode {
    // Two providers could be compiled in by somebody's feature; without a choice the first TLS
    // connection would panic.
    if rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .is_err()
    {
        return fail(1, "there is a cryptography provider already");
    }
    let cli = match parse::<S>() {
        Ok(cli) => cli,
        Err(error) => {
            // What was asked for, such as help, goes to stdout and is no failure.
            let code = if error.use_stderr() { USAGE } else { 0 };
            let _ = error.print();
            return ExitCode::from(code);
        }
    };
    let loaded = match load::<S::Config>(S::NAME, S::DEFAULTS, cli.config.as_deref()) {
        Ok(loaded) => loaded,
        Err(error) => return fail(USAGE, &format!("{:#}", anyhow::Error::from(error))),
    };
    if let Command::CheckConfig = cli.command {
        print(&loaded.text);
        return ExitCode::SUCCESS;
    }
    let config = loaded.config;
    let sections = Sections {
        process: config.service().clone(),
        admin: config.admin().clone(),
        telemetry: config.telemetry().clone(),
    };
    let runtime = match runtime(sections.process.workers) {
        Ok(runtime) => runtime,
        Err(error) => return fail(1, &format!("the runtime cannot start: {error}")),
    };
    let result = match cli.command {
        Command::Serve => {
            let start = |shell| S::serve(config, shell).boxed();
            runtime.block_on(serve(S::NAME, sections, Box::new(start)))
        }
        Command::Migrate => runtime.block_on(S::migrate(config)),
        Command::Own(command) => runtime.block_on(S::command(config, command)),
        Command::CheckConfig => Ok(()),
    };
    runtime.shutdown_timeout(RUNTIME_END);
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(1, &format!("{error:#}")),
    }
}

fn parse<S: Service>() -> Result<Cli<S::Command>, clap::Error> {
    let matches = Cli::<S::Command>::command()
        .name(S::NAME)
        .try_get_matches()?;
    Cli::from_arg_matches(&matches)
}

/// One worker a processor: a second one only looks for work of the first.
fn runtime(workers: usize) -> std::io::Result<Runtime> {
    let workers = match workers {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        workers => workers,
    };
    Builder::new_multi_thread()
        .worker_threads(workers)
        .enable_all()
        .build()
}

/// What every process needs of its configuration.
struct Sections {
    process: ProcessConfig,
    admin: AdminConfig,
    telemetry: TelemetryConfig,
}

/// Starts what the process is there for.
type Start = Box<dyn FnOnce(Shell) -> BoxFuture<'static, anyhow::Result<()>> + Send>;

/// Boxed, and not generic: it is compiled here and not in each program.
fn serve(
    name: &'static str,
    sections: Sections,
    start: Start,
) -> BoxFuture<'static, anyhow::Result<()>> {
    serve_until_told(name, sections, start).boxed()
}

async fn serve_until_told(
    name: &'static str,
    sections: Sections,
    start: Start,
) -> anyhow::Result<()> {
    let Sections {
        process,
        admin,
        telemetry,
    } = sections;
    let mut signals = Signals::listen().context("signals cannot be listened to")?;
    let telemetry = wanwu_telemetry::init(&telemetry, name, process.environment.name())
        .context("telemetry cannot start")?;
    log_panics();

    let (shell, mut failed) = Shell::new();
    let end = CancellationToken::new();
    let starting = shell.latch();
    let port = Admin {
        shell: shell.clone(),
        metrics: telemetry.metrics(),
    };
    let admin = admin::serve(&admin, port, end.clone())
        .await
        .context("the admin port cannot be listened on")?;
    let admin = tokio::task::spawn(admin);
    shell.spawn_infallible("metrics", upkeep(telemetry.metrics(), shell.stopping()));

    let outcome = async {
        start(shell.clone())
            .await
            .context("the service cannot start")?;
        drop(starting);
        tracing::info!(version = env!("CARGO_PKG_VERSION"), "ready");
        tokio::select! {
            signal = signals.stop() => tracing::info!(signal, "stopping"),
            Some(failure) = failed.recv() => anyhow::bail!("a task died: {failure}"),
        }
        Ok(())
    };
    let mut outcome = outcome.await;

    // After a failure nobody is waited for who could still notice: calls only finish.
    let delay = if outcome.is_ok() {
        process.drain_delay
    } else {
        Duration::ZERO
    };
    let hard_end = drain::hard_end(&process);
    if !shell.drain(delay, hard_end).await && outcome.is_ok() {
        outcome = Err(anyhow::anyhow!("tasks did not end in time and are cut"));
    }
    if let Err(error) = &outcome {
        tracing::error!(error = format!("{error:#}"), "the process fails");
    }
    telemetry.shutdown().await;
    end.cancel();
    let _ = admin.await;
    outcome
}

async fn upkeep(metrics: Metrics, stop: CancellationToken) {
    while stop
        .run_until_cancelled(tokio::time::sleep(METRICS_UPKEEP))
        .await
        .is_some()
    {
        metrics.upkeep();
    }
}

/// A panic is logged where it happens, without its text: that could repeat what somebody sent.
fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic
            .location()
            .map(ToString::to_string)
            .unwrap_or_default();
        tracing::error!(place, "a panic");
    }));
}

#[allow(
    clippy::print_stdout,
    reason = "a command's answer goes to whoever typed it"
)]
fn print(text: &str) {
    println!("{text}");
}

#[allow(
    clippy::print_stderr,
    reason = "before and after the logs there is only this"
)]
fn fail(code: u8, message: &str) -> ExitCode {
    eprintln!("{message}");
    ExitCode::from(code)
}
