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

/// The allocator of every service. A call makes some hundred short allocations, many of them ended by
/// another thread than began them, which the system's own takes twice as long for.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

pub use cli::NoCommand;
pub use config::{AdminConfig, Configuration, Environment, ProcessConfig};
pub use load::{ConfigError, load};
pub use run::{Service, run};
pub use shell::{Latch, Shell};
