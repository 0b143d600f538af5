//! The whole platform as processes: the local stack, the journeys through it, the simulators of
//! the providers around it, and the figures measured on it.
#![allow(
    clippy::disallowed_methods,
    reason = "these are tools and tests: time, chance and the environment are theirs to ask for"
)]

pub mod figures;
pub mod fuzz;
pub mod journey;
pub mod load;
pub mod simulators;
pub mod stack;
pub mod trace;
