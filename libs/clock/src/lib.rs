//! Time and chance as parameters: code that decides anything takes a [`Clock`] and an
//! [`Entropy`], so that a test can repeat it.

mod clock;
mod entropy;

pub use clock::{Clock, SharedClock, SystemClock, TestClock};
pub use entropy::{Entropy, SeededEntropy, SharedEntropy, SystemEntropy};
