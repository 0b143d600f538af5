//! What verification decides, without a database.

pub mod age;
pub mod verification;
