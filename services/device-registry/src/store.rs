//! SQL, on the connection of the caller's transaction.

pub mod demands;
pub mod devices;
pub mod gates;
pub mod licences;
