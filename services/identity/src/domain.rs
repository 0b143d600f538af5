//! What identity decides, without a database.

pub mod app_name;
pub mod code;
pub mod credential;
pub mod send_limits;
pub mod totp;
