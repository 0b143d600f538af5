//! SQL, on the connection of the caller's transaction.

pub mod accounts;
pub mod apps;
pub mod audit;
pub mod codes;
pub mod grants;
pub mod notifications;
pub mod operators;
pub mod sessions;
pub mod standings;
