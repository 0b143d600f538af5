//! SQL. Functions that take a connection join its transaction.

pub mod call_log;
pub mod calls;
pub mod epochs;
pub mod idempotency_keys;
pub mod journal;
pub mod limit_allowances;
pub mod limit_rules;
pub mod routes;
pub mod units;
pub mod usage_events;
