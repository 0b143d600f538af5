//! The services of the contract: parse, command, reply.

mod account_codes;
mod api_keys;
mod apps;
mod grants;
mod operators;
mod sessions;
mod standings;

use std::{str::FromStr, sync::Arc};

use chrono::{DateTime, Utc};
use prost_types::Timestamp;
use serde::{Serialize, de::DeserializeOwned};
use wanwu_personal::Phone;
use wanwu_postgres::page::{InvalidPage, PageRequest};

use crate::{app::App, error::Error};

/// Answers every service of identity.
#[derive(Clone)]
pub struct Handlers(pub Arc<App>);

fn id<T: FromStr>(field: &'static str, text: &str) -> Result<T, Error> {
    text.parse()
        .map_err(|_| Error::invalid(field, "is not a UUID"))
}

fn phone(text: &str) -> Result<Phone, Error> {
    Phone::parse(text).map_err(|_| Error::invalid("phone", "is not a mainland mobile number"))
}

fn page<K: Serialize + DeserializeOwned>(size: i32, token: &str) -> Result<PageRequest<K>, Error> {
    PageRequest::parse(size, token).map_err(|error| match error {
        InvalidPage::Size => Error::invalid("page_size", "is negative"),
        InvalidPage::Token => Error::invalid("page_token", "is not one of ours"),
    })
}

fn timestamp(at: DateTime<Utc>) -> Timestamp {
    Timestamp {
        seconds: at.timestamp(),
        nanos: i32::try_from(at.timestamp_subsec_nanos()).unwrap_or_default(),
    }
}

fn instant(field: &'static str, timestamp: Timestamp) -> Result<DateTime<Utc>, Error> {
    u32::try_from(timestamp.nanos)
        .ok()
        .and_then(|nanos| DateTime::from_timestamp(timestamp.seconds, nanos))
        .ok_or_else(|| Error::invalid(field, "is no instant"))
}

/// `[a-z_]{1,40}`: why an operator acts.
fn reason_code(text: String) -> Result<String, Error> {
    let sound = (1..=40).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    if sound {
        Ok(text)
    } else {
        Err(Error::invalid("reason_code", "must be [a-z_]{1,40}"))
    }
}
