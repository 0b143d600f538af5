//! The outside.

pub mod agency;
