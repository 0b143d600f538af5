//! What the tests of every service need: patience with a limit, queues of their own on the shared
//! broker, and a clock that starts at a known time.

mod broker;
mod clock;
mod wait;

pub use broker::TestBroker;
pub use clock::{START, test_clock};
pub use wait::wait_for;
