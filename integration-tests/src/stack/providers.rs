//! The providers that simulators stand for: what both sides must know of each other.

use std::{io, path::PathBuf};

use serde_json::{Value, json};

use super::{Description, Layout};

/// Providers that every stack simulates.
pub const PROVIDERS: [&str; 3] = ["sms", "wechat-pay", "agency"];

/// The configuration of a simulator.
#[must_use]
pub fn config_file(layout: &Layout, kind: &str) -> PathBuf {
    layout.folder("simulators").join(format!("{kind}.toml"))
}

/// What the services must be told.
#[derive(Debug)]
pub struct Provisioned;

impl Provisioned {
    /// The sections for one service.
    pub fn section(&self, _service: &str) -> Value {
        json!({})
    }
}

/// Makes keys, certificates and secrets that are not there, and the simulators' configuration.
pub fn provision(_layout: &Layout, _description: &Description) -> io::Result<Provisioned> {
    Ok(Provisioned)
}
