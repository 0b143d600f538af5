//! A small receiver of traces: OTLP/gRPC in, newline-delimited JSON on disk, one trace by HTTP.

mod query;
mod receiver;
mod span;
mod store;
mod tree;

pub use receiver::{Receiver, ReceiverError};
pub use span::Span;
pub use tree::tree;
