//! Use cases.

pub mod call_log;
pub mod chat;
mod client;
pub mod gen_ai;
pub mod limits;
mod mirror;
mod refused;
pub mod routes;
mod run_call;
mod spent;
mod stream_answer;
mod turn;
mod waited;
mod whole_answer;

pub use client::{Item, Reply};

pub use mirror::room as room_for_copies;
