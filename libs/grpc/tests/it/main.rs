//! Two processes' worth of gRPC on loopback: real TCP, real TLS, certificates made in the test.

mod deadlines;
mod drain;
mod replicas;
mod stack;
mod stand;
mod tls;
