//! The whole platform as processes, on the stack that `WANWU_STACK` names.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a panic is how a test fails, and its ids are nobody else's"
)]

mod clients;
mod codes;
mod devices;
mod gates;
mod leaving;
mod ledger;
mod money;
mod operators;
mod owners;
mod peers;
mod pieces;
mod routes;
mod sessions;
mod shapes;
mod silence;
mod tariff;
mod world;
