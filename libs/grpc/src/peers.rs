use std::collections::BTreeMap;

use serde::Deserialize;

use crate::{Channel, Tls};

/// Section `[peers]` of a service's configuration: where each service is that this one calls.
///
/// A value is `https://host:port`, several of them with commas between, or `dns:host:port`: a
/// name whose addresses are looked up again every 5 seconds (a headless service).
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(transparent)]
pub struct Peers(BTreeMap<String, String>);

/// Where the replicas of a service are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PeerAddress {
    /// At these places (`host:port`), each one replica.
    List(Vec<String>),
    /// At every address of this name (`host:port`).
    Dns(String),
}

/// A peer's address cannot be used.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum PeersError {
    /// The configuration does not say where the service is.
    #[error("peers.{0} is not set")]
    Missing(String),
    /// The address has the wrong shape.
    #[error("peers.{0} is neither a list of https://host:port nor dns:host:port")]
    Address(String),
}

impl Peers {
    /// Peers at these addresses; for tests.
    #[must_use]
    pub fn new(addresses: impl IntoIterator<Item = (String, String)>) -> Self {
        Self(addresses.into_iter().collect())
    }

    /// Where a service is.
    pub fn address(&self, service: &str) -> Result<PeerAddress, PeersError> {
        let text = self
            .0
            .get(service)
            .ok_or_else(|| PeersError::Missing(service.to_owned()))?;
        parse(text).ok_or_else(|| PeersError::Address(service.to_owned()))
    }

    /// A channel to a service. It connects by itself, now and after every loss.
    pub fn channel(&self, service: &str, tls: &Tls) -> Result<Channel, PeersError> {
        Ok(Channel::new(service, self.address(service)?, tls))
    }

    /// The services that are named.
    pub fn services(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

fn parse(text: &str) -> Option<PeerAddress> {
    if let Some(place) = text.strip_prefix("dns:") {
        return is_place(place).then(|| PeerAddress::Dns(place.to_owned()));
    }
    let mut places = Vec::new();
    for part in text.split(',') {
        let place = part.trim().strip_prefix("https://")?.trim_end_matches('/');
        if !is_place(place) {
            return None;
        }
        places.push(place.to_owned());
    }
    Some(PeerAddress::List(places))
}

fn is_place(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else {
        return false;
    };
    !host.is_empty() && !host.contains('/') && port.parse::<u16>().is_ok_and(|port| port > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_list_or_a_name() {
        let list = |places: &[&str]| {
            Some(PeerAddress::List(
                places.iter().map(|&place| place.to_owned()).collect(),
            ))
        };
        let cases = [
            ("https://127.0.0.1:7101", list(&["127.0.0.1:7101"])),
            ("https://a:1, https://b:2/", list(&["a:1", "b:2"])),
            ("https://[::1]:7101", list(&["[::1]:7101"])),
            (
                "dns:billing.wanwu.svc:7101",
                Some(PeerAddress::Dns("billing.wanwu.svc:7101".into())),
            ),
            ("http://127.0.0.1:7101", None),
            ("https://127.0.0.1", None),
            ("https://127.0.0.1:0", None),
            ("dns:billing", None),
            ("", None),
        ];
        for (text, expected) in cases {
            assert_eq!(parse(text), expected, "{text}");
        }
    }
}
