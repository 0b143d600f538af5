//! Makes, starts and ends the local stack; `scripts/up` and `scripts/down` call it.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::Context;
use clap::{Args, Parser, Subcommand};
use integration_tests::{
    journey::demonstrate,
    stack::{Embedding, Engine, Plan, Progress, Stack, absolute, down, up, wipe},
    trace::Receiver,
};

/// How long a restarted process may take to become ready.
const READY: Duration = Duration::from_secs(90);

#[derive(Debug, Parser)]
#[command(about = "The local stack")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Makes what is missing and starts what does not run.
    Up(UpArguments),
    /// Ends every process; the data stays.
    Down {
        /// The stack's folder.
        #[arg(long, default_value = ".local")]
        dir: PathBuf,
        /// Forgets the data too.
        #[arg(long)]
        wipe: bool,
    },
    /// Ends one process in order and starts it again.
    Restart {
        /// Its name.
        name: String,
        /// The stack's folder.
        #[arg(long, default_value = ".local")]
        dir: PathBuf,
    },
    /// Says what runs.
    Status {
        /// The stack's folder.
        #[arg(long, default_value = ".local")]
        dir: PathBuf,
    },
    /// Does the main job once on a running stack.
    Demo {
        /// The stack's folder.
        #[arg(long, default_value = ".local")]
        dir: PathBuf,
    },
    /// Prints one value of the description: `database.superuser_url`.
    Get {
        /// The path to it, by dots.
        path: String,
        /// The stack's folder.
        #[arg(long, default_value = ".local")]
        dir: PathBuf,
    },
    /// Receives traces; a process of the stack.
    Traces {
        /// Where OTLP/gRPC is taken.
        #[arg(long)]
        otlp: SocketAddr,
        /// Where traces are asked for.
        #[arg(long)]
        query: SocketAddr,
        /// Where they are written.
        #[arg(long)]
        folder: PathBuf,
    },
}

#[derive(Debug, Args)]
struct UpArguments {
    /// The stack's folder.
    #[arg(long, default_value = ".local")]
    dir: PathBuf,
    /// The repository, or a copy of its data that the user of the stack can read.
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/.."))]
    source: PathBuf,
    /// Only starts; does not do the main job.
    #[arg(long)]
    no_demo: bool,
    /// The scripted engine runs too.
    #[arg(long, visible_alias = "with-scripted-engine")]
    scripted_engine: bool,
    /// A model file (GGUF) to be served here.
    #[arg(long, requires_all = ["model_name", "python"], conflicts_with = "engine_url")]
    model_file: Option<PathBuf>,
    /// The name of that model.
    #[arg(long)]
    model_name: Option<String>,
    /// A Python with xllamacpp.
    #[arg(long)]
    python: Option<PathBuf>,
    /// An OpenAI-compatible server to be used instead.
    #[arg(long)]
    engine_url: Option<String>,
    /// The compiled embedding model, to be served here.
    #[arg(long, requires_all = ["embedding_file", "embedding_python"], conflicts_with = "embedding_url")]
    embedding_library: Option<PathBuf>,
    /// Its weights.
    #[arg(long)]
    embedding_file: Option<PathBuf>,
    /// A Python that serves it.
    #[arg(long)]
    embedding_python: Option<PathBuf>,
    /// A server of that model to be used instead.
    #[arg(long)]
    embedding_url: Option<String>,
}

#[tokio::main]
async fn main() -> ExitCode {
    rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .ok();
    match run(Arguments::parse().command).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\nstack: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(command: Command) -> anyhow::Result<()> {
    let progress = Progress::new();
    match command {
        Command::Up(arguments) => start(arguments, &progress).await,
        Command::Down { dir, wipe: forget } => {
            let dir = absolute(&dir);
            if let Some(stack) = existing(&dir)? {
                down(&stack, &progress)?;
            }
            if forget {
                wipe(&dir)?;
                progress.say("its data, keys and logs are gone");
            }
            Ok(())
        }
        Command::Restart { name, dir } => {
            let process = load(&dir)?.process(&name);
            process.restart()?;
            progress
                .step(&format!("{name}: ready"), process.wait_ready(READY))
                .await?;
            Ok(())
        }
        Command::Status { dir } => status(&load(&dir)?),
        Command::Demo { dir } => demonstrate(&load(&dir)?).await,
        Command::Get { path, dir } => get(&load(&dir)?, &path),
        Command::Traces {
            otlp,
            query,
            folder,
        } => {
            let receiver = Receiver::bind(otlp, query, &folder).await?;
            println!("traces: OTLP on {otlp}, queries on {query}");
            Ok(receiver.serve().await?)
        }
    }
}

async fn start(arguments: UpArguments, progress: &Progress) -> anyhow::Result<()> {
    let engine = match (arguments.model_file, arguments.engine_url) {
        (Some(file), _) => Some(Engine::Local {
            python: arguments.python.context("--python is missing")?,
            file: absolute(&file),
            name: arguments.model_name.context("--model-name is missing")?,
        }),
        (None, Some(url)) => Some(Engine::Remote { url }),
        (None, None) => None,
    };
    let embedding = match (arguments.embedding_library, arguments.embedding_url) {
        (Some(library), _) => Some(Embedding::Local {
            python: arguments
                .embedding_python
                .context("--embedding-python is missing")?,
            library: absolute(&library),
            file: absolute(
                &arguments
                    .embedding_file
                    .context("--embedding-file is missing")?,
            ),
        }),
        (None, Some(url)) => Some(Embedding::Remote { url }),
        (None, None) => None,
    };
    let binaries = std::env::current_exe()?;
    let binaries = binaries.parent().context("a program lies in a folder")?;
    let plan = Plan {
        dir: absolute(&arguments.dir),
        binaries: binaries.to_owned(),
        source: absolute(&arguments.source),
        engine,
        embedding,
        scripted_engine: arguments.scripted_engine,
    };
    let stack = up(&plan, progress).await?;
    progress.say(&format!("the stack is ready: {}", stack.description().edge));
    if !arguments.no_demo {
        demonstrate(&stack).await?;
    }
    Ok(())
}

fn load(dir: &Path) -> anyhow::Result<Stack> {
    Ok(Stack::load(&absolute(dir).join("stack.json"))?)
}

fn existing(dir: &Path) -> anyhow::Result<Option<Stack>> {
    let description = dir.join("stack.json");
    if description.exists() {
        Ok(Some(Stack::load(&description)?))
    } else {
        Ok(None)
    }
}

fn status(stack: &Stack) -> anyhow::Result<()> {
    let mut missing = 0;
    for process in stack.processes() {
        let state = match process.pid() {
            Some(pid) => format!("pid {pid}"),
            None => {
                missing += 1;
                "does not run".to_owned()
            }
        };
        println!("{:<20} {state}", process.spec().name);
    }
    anyhow::ensure!(missing == 0, "{missing} processes do not run");
    Ok(())
}

fn get(stack: &Stack, path: &str) -> anyhow::Result<()> {
    let description = serde_json::to_value(stack.description())?;
    let pointer = format!("/{}", path.replace('.', "/"));
    let value = description
        .pointer(&pointer)
        .with_context(|| format!("there is no {path}"))?;
    match value.as_str() {
        Some(text) => println!("{text}"),
        None => println!("{value}"),
    }
    Ok(())
}
