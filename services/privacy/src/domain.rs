//! What privacy decides, without a database.

pub mod acceptance;
pub mod allowance;
pub mod gate;
pub mod guardian;
pub mod purpose;
