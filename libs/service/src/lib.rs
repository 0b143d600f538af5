//! The shell of a process: its command line, its configuration, its runtime, its tasks, its admin
//! port and its end. A service says what it is with [`Service`]; [`run`] does the rest.

mod admin;
mod cli;
mod config;
mod drain;
mod load;
mod redact;
mod run;
mod shell;
mod signals;

pub use cli::NoCommand;
pub use config::{AdminConfig, Configuration, Environment, ProcessConfig};
pub use load::{ConfigError, load};
pub use run::{Service, run};
pub use shell::{Latch, Shell};
