//! Rules without a database, a network or a clock.

pub mod allowance;
pub mod answer;
pub mod appetite;
pub mod breaker;
pub mod chunk;
pub mod engine_report;
mod engine_usage;
pub mod fair_queue;
pub mod finish;
mod json;
pub mod label;
pub mod lease_purse;
pub mod lease_scope;
pub mod limits;
pub mod placement;
pub mod request_body;
pub mod retry_budget;
pub mod route;
pub mod screen;
pub mod shape;
pub mod stall;
pub mod table;
pub mod told;
pub mod usage;
