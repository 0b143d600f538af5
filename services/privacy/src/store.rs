//! SQL, on the connection of the caller's transaction.

pub mod agreements;
pub mod allowances;
pub mod consents;
pub mod gates;
pub mod guardians;
pub mod operator_actions;
