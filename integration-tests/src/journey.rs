//! The way through the platform as its customers go it: over the edge's public port, with the
//! simulators standing for the phone, the payer and the agency. The demonstration of
//! `scripts/up` and the tests take the same steps.

mod api;
mod chat;
mod customer;
mod demonstration;
mod money;
mod next_things;
mod operator;
mod person;
mod simulated;
mod trace;
mod vectors;
mod ways;

pub use api::{Api, ApiError};
pub use chat::{Answer, Chunk, prompt};
pub use customer::{App, Journey, Key, Session};
pub use demonstration::demonstrate;
pub use money::{fen, ledger_sum, nanos};
pub use operator::Operator;
pub use person::Person;
pub use simulated::Simulated;
pub use trace::{read_trace, wait_for_trace};
pub use vectors::{Vectors, cosine};
pub use ways::{Listening, Way, Ways};
