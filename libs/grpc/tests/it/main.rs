//! Two processes' worth of gRPC on loopback: real TCP, real TLS, certificates made in the test.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends")]

mod deadlines;
mod drain;
mod replicas;
mod stack;
mod stand;
mod streams;
mod tls;
