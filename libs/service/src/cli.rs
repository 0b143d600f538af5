use std::path::PathBuf;

use clap::{Parser, Subcommand};

/// The command line of every service.
#[derive(Debug, Parser)]
#[command(version, about = None)]
pub(crate) struct Cli<C: Subcommand> {
    /// The configuration file; what it does not say has its default.
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    #[command(subcommand)]
    pub(crate) command: Command<C>,
}

/// What every service can be told to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command<C: Subcommand> {
    /// Serves until it is told to stop.
    Serve,
    /// Brings the database to the schema of this build.
    Migrate,
    /// Reads the configuration, prints it without its secrets and says what is wrong with it.
    CheckConfig,
    #[command(flatten)]
    Own(C),
}

/// The commands of a service that has none of its own.
#[derive(Clone, Copy, Debug, Subcommand)]
pub enum NoCommand {}
