//! inference-routing on a real PostgreSQL, with engines, billing and device-registry of the
//! test's own on loopback.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

mod again;
mod answers;
mod bad_engines;
mod busy;
mod call_span;
mod credit;
mod ends;
mod engines;
mod fields;
mod full_engines;
mod grpc;
mod journal;
mod labels;
mod limit_service;
mod limits;
mod metrics;
mod names;
mod pieces;
mod policies;
mod recovery;
mod refusals;
mod reports;
mod route_service;
mod routes;
mod shapes;
mod tokenizers;
mod traces;
mod trust;
mod turns;
mod units;
mod waits;
mod world;
