//! What identity hears: one file an event.

mod consent_changed;
mod notification_requested;
mod real_name_changed;

pub use consent_changed::RepairConsent;
pub use notification_requested::NoteRequestedNotification;
pub use real_name_changed::RepairRealName;
