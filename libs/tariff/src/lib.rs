//! What a call costs: units, how many of each, their prices, and the bill as lines. Pure integer
//! arithmetic; the router that holds credit and the service that bills compute with the same code.

mod counts;
mod prices;
mod unit;

pub use counts::{Counts, Excess};
pub use prices::{Line, Prices, Unpayable};
pub use unit::Unit;
