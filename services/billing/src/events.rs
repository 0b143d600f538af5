//! What billing hears: one file an event.

mod agreement_published;
mod purchase_allowance_changed;
mod usage_recorded;

pub use agreement_published::KeepAgreement;
pub use purchase_allowance_changed::KeepAllowance;
pub use usage_recorded::SettleRecordedUsage;
