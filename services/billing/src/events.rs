//! What billing hears: one file an event.

mod usage_recorded;

pub use usage_recorded::SettleRecordedUsage;
