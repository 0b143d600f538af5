//! The services of the contract: parse, command, reply.

mod gates;
mod verifications;

use std::sync::Arc;

use crate::app::App;

/// Answers every service of verification.
#[derive(Clone)]
pub struct Handlers(pub Arc<App>);
