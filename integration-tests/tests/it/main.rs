//! The whole platform as processes, on the stack that `WANWU_STACK` names.

mod clients;
mod codes;
mod devices;
mod gates;
mod ledger;
mod money;
mod operators;
mod owners;
mod peers;
mod sessions;
mod world;
