//! The local stack: a private database cluster and broker, certificates, keys, simulators, the
//! services and a model engine, each a process of its own under one folder.
//!
//! `stack up` makes and starts it; tests read what it wrote with [`Stack::load`] and may end,
//! pause and start every [`Process`] of it.

pub(crate) mod alipay_authority;
mod certificates;
mod configuration;
mod database;
mod description;
mod down;
mod engine;
mod files;
mod layout;
mod ports;
mod postgres;
mod process;
mod progress;
mod providers;
mod rabbitmq;
mod ready;
mod secrets;
mod services;
mod up;

pub use description::{
    Broker, Database, Description, Model, ServiceAddresses, Stack, StackError, Traces,
};
pub use down::{down, wipe};
pub use engine::{Embedding, Engine};
pub(crate) use files::{create_private_folder, write_private};
pub use layout::Layout;
pub(crate) use ports::Ports;
pub(crate) use postgres::programs as postgres_programs;
pub(crate) use process::as_owner;
pub use process::{Process, ProcessError, ProcessSpec, StopSignal};
pub use progress::Progress;
pub use ready::Ready;
pub use services::SERVICES;
pub(crate) use services::{SPANS_EVERY, simulator_spec};
pub use up::{Plan, absolute, up};
