//! What identity decides, without a database.

pub mod code;
pub mod credential;
pub mod send_limits;
pub mod totp;
