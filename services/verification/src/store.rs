//! SQL, on the connection of the caller's transaction.

pub mod gates;
pub mod verifications;
