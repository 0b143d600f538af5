//! What the tests of every service need: patience with a limit, queues of their own on the shared
//! broker, a clock that starts at a known time, and streams whose events come in pieces.

mod broker;
mod clock;
mod pieces;
mod wait;

pub use broker::TestBroker;
pub use clock::{START, test_clock};
pub use pieces::Pieces;
pub use wait::wait_for;
