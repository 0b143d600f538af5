//! What device-registry decides, without a database.

pub mod capability;
