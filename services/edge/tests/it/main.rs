//! The edge between real sockets: clients in front of it, services with certificates behind it.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a panic is how a test fails, and its tasks and ids are nobody else's"
)]

mod access;
mod chat;
mod descriptors;
mod echo;
mod identity;
mod idle;
mod inference;
mod json;
mod limits;
mod lost;
mod metrics;
mod models_and_callbacks;
mod network;
mod open_services;
mod pass_through;
mod replicas;
mod shapes;
mod slow_clients;
mod trace;
mod world;
