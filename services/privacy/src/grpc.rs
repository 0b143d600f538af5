//! The services of the contract: parse, command, reply.

mod agreements;
mod consents;
mod gates;
mod guardians;

use std::{str::FromStr, sync::Arc};

use crate::{app::App, error::Error};

/// Answers every service of privacy.
#[derive(Clone)]
pub struct Handlers(pub Arc<App>);

/// Reads an id of a request's field.
fn id<T: FromStr>(field: &'static str, text: &str) -> Result<T, Error> {
    text.parse()
        .map_err(|_| Error::invalid(field, "is not a UUID"))
}

/// Reads a text of a request's field with a limit in bytes; empty is refused.
fn text(field: &'static str, text: String, limit: usize) -> Result<String, Error> {
    if text.is_empty() || text.len() > limit {
        return Err(Error::invalid(field, "is empty or too long"));
    }
    Ok(text)
}
