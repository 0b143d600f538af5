//! The services of the contract: parse, command, reply.

mod devices;
mod gates;
mod licences;

use std::{str::FromStr, sync::Arc};

use crate::{app::App, domain::capability::Capability, error::Error};

/// Answers every service of device-registry.
#[derive(Clone)]
pub struct Handlers(pub Arc<App>);

fn id<T: FromStr>(field: &'static str, text: &str) -> Result<T, Error> {
    text.parse()
        .map_err(|_| Error::invalid(field, "is not a UUID"))
}

fn capability(text: &str) -> Result<Capability, Error> {
    Capability::parse(text).ok_or_else(|| Error::invalid("capability", "is not known"))
}
