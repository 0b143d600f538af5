//! Where a client is: its address behind our proxies, and a keyed hash of it.

use std::net::{IpAddr, SocketAddr};

use aws_lc_rs::hmac;
use http::HeaderMap;

use crate::networks::Networks;

/// Who is believed to say where a client is.
#[derive(Clone, Debug, Default)]
pub struct TrustedProxies(Networks);

/// Turns addresses into what rate limits may keep.
pub struct AddressKeys(hmac::Key);

const FORWARDED_FOR: &str = "x-forwarded-for";
/// A longer chain of proxies is nobody's.
const MAX_HOPS: usize = 32;

impl TrustedProxies {
    /// The proxies in these networks.
    #[must_use]
    pub fn new(networks: Networks) -> Self {
        Self(networks)
    }

    /// The client's address: the peer's, or, when the peer is a proxy of ours, the rightmost
    /// address in `X-Forwarded-For` that is not one. What stands left of it, the client can have
    /// written itself. `None`: a proxy of ours forwarded something that is not an address.
    #[must_use]
    pub fn client(&self, peer: IpAddr, headers: &HeaderMap) -> Option<IpAddr> {
        let peer = peer.to_canonical();
        if !self.0.contains(peer) {
            return Some(peer);
        }
        let mut nearest = peer;
        let lines = headers.get_all(FORWARDED_FOR).iter();
        let hops = lines
            .rev()
            .flat_map(|line| line.as_bytes().rsplit(|&byte| byte == b','));
        for hop in hops.take(MAX_HOPS) {
            nearest = parse(hop)?;
            if !self.0.contains(nearest) {
                return Some(nearest);
            }
        }
        // Everybody on the way is ours: so is the client.
        Some(nearest)
    }
}

/// An address, with or without a port.
fn parse(hop: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(hop).ok()?.trim();
    let bare = text
        .strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'));
    let address: Option<IpAddr> = bare.unwrap_or(text).parse().ok();
    address
        .or_else(|| text.parse::<SocketAddr>().ok().map(|place| place.ip()))
        .map(|address| address.to_canonical())
}

impl AddressKeys {
    /// Hashes under this key.
    #[must_use]
    pub fn new(key: &[u8]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, key))
    }

    /// 32 hex digits of HMAC-SHA-256 over the address; of IPv6 over its /64, which is one client's.
    #[must_use]
    pub fn key(&self, address: IpAddr) -> String {
        let tag = match address {
            IpAddr::V4(address) => hmac::sign(&self.0, &address.octets()),
            IpAddr::V6(address) => hmac::sign(&self.0, &address.octets()[..8]),
        };
        hex::encode(&tag.as_ref()[..16])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(peer: &str, forwarded: &[&str]) -> Option<String> {
        let networks = ["10.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()];
        let proxies = TrustedProxies::new(Networks::of(&networks));
        let mut headers = HeaderMap::new();
        for line in forwarded {
            headers.append(FORWARDED_FOR, line.parse().unwrap());
        }
        let client = proxies.client(peer.parse().unwrap(), &headers);
        client.map(|address| address.to_string())
    }

    #[test]
    fn the_client_is_the_rightmost_address_that_is_not_ours() {
        let cases: [(&str, &[&str], Option<&str>); 11] = [
            ("8.8.8.8", &[], Some("8.8.8.8")),
            // Whoever is not a proxy of ours may write what he wants.
            ("8.8.8.8", &["203.0.113.1"], Some("8.8.8.8")),
            ("10.0.0.1", &["203.0.113.1"], Some("203.0.113.1")),
            ("10.0.0.1", &["203.0.113.1, 8.8.8.8"], Some("8.8.8.8")),
            (
                "10.0.0.1",
                &["203.0.113.1", "8.8.8.8, 10.2.3.4"],
                Some("8.8.8.8"),
            ),
            ("::1", &["[2001:db8::1]:443"], Some("2001:db8::1")),
            ("::ffff:10.0.0.1", &["8.8.8.8:1234"], Some("8.8.8.8")),
            ("10.0.0.1", &["10.0.0.2"], Some("10.0.0.2")),
            ("10.0.0.1", &[], Some("10.0.0.1")),
            ("10.0.0.1", &["203.0.113.1, unknown"], None),
            ("10.0.0.1", &[""], None),
        ];
        for (peer, forwarded, expected) in cases {
            assert_eq!(
                client(peer, forwarded).as_deref(),
                expected,
                "{peer} {forwarded:?}"
            );
        }
    }

    #[test]
    fn a_key_tells_addresses_apart_and_not_what_they_are() {
        let keys = AddressKeys::new(b"key");
        let key = |text: &str| keys.key(text.parse().unwrap());
        assert_eq!(key("8.8.8.8").len(), 32);
        assert_ne!(key("8.8.8.8"), key("8.8.8.9"));
        assert_eq!(key("2001:db8::1"), key("2001:db8::2"));
        assert_ne!(key("2001:db8::1"), key("2001:db8:0:1::1"));
        assert_ne!(
            key("8.8.8.8"),
            AddressKeys::new(b"other").key("8.8.8.8".parse().unwrap())
        );
    }
}
