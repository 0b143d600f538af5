use std::fmt;

use aws_lc_rs::hmac;

use crate::KeyProvider;

/// Finds rows by a value that they hold only sealed: HMAC-SHA-256 of it, with a key of its own for
/// each purpose and each version of the keys. It tells that two values are equal, and, to who
/// has the key, nothing more than a guess can.
///
/// What is written carries the active version; what is looked up is looked up under all, so rows
/// of before a rotation are found until they are written anew.
#[derive(Clone)]
pub struct BlindIndex {
    active: String,
    /// By the id of the key.
    keys: Vec<(String, hmac::Key)>,
}

/// What stands in the index for a value.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct IndexEntry {
    /// The version: the id of the key.
    pub key_id: String,
    /// The HMAC.
    pub mac: [u8; 32],
}

impl BlindIndex {
    /// The index for one purpose, such as `identity.phone`; indexes of two purposes cannot be
    /// compared with each other.
    #[must_use]
    pub fn new(provider: &KeyProvider, purpose: &str) -> Self {
        let purpose = format!("index:{purpose}");
        let key = |id: &str| {
            let secret = provider
                .secret_of(id, &purpose)
                .expect("the id is one of the provider");
            (
                id.to_owned(),
                hmac::Key::new(hmac::HMAC_SHA256, &secret[..]),
            )
        };
        Self {
            active: provider.active().to_owned(),
            keys: provider.ids().map(key).collect(),
        }
    }

    /// The entry to write for `value`, in its one canonical form.
    #[must_use]
    pub fn entry(&self, value: &str) -> IndexEntry {
        let active = self.keys.iter().find(|(id, _)| *id == self.active);
        let (id, key) = active.expect("the active key is one of the provider");
        IndexEntry {
            key_id: id.clone(),
            mac: mac(key, value),
        }
    }

    /// The entries under which `value` may stand: `where mac = any ($1)` with [`macs`](Self::macs).
    #[must_use]
    pub fn entries(&self, value: &str) -> Vec<IndexEntry> {
        let entry = |(id, key): &(String, hmac::Key)| IndexEntry {
            key_id: id.clone(),
            mac: mac(key, value),
        };
        self.keys.iter().map(entry).collect()
    }

    /// The HMACs of [`entries`](Self::entries), for a query.
    #[must_use]
    pub fn macs(&self, value: &str) -> Vec<Vec<u8>> {
        self.entries(value)
            .into_iter()
            .map(|entry| entry.mac.to_vec())
            .collect()
    }
}

impl fmt::Debug for BlindIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlindIndex")
            .field("active", &self.active)
            .finish_non_exhaustive()
    }
}

fn mac(key: &hmac::Key, value: &str) -> [u8; 32] {
    let tag = hmac::sign(key, value.as_bytes());
    tag.as_ref().try_into().expect("HMAC-SHA-256 has 32 bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str =
        r#"{"active":"k1","keys":{"k1":"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="}}"#;
    const NEW: &str = r#"{"active":"k2","keys":{"k1":"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
        "k2":"//////////////////////////////////////////8="}}"#;

    fn index(json: &str, purpose: &str) -> BlindIndex {
        BlindIndex::new(&KeyProvider::from_json(json).unwrap(), purpose)
    }

    #[test]
    fn what_was_written_before_a_rotation_is_found_after_it() {
        let written = index(OLD, "phone").entry("13800138000");
        let rotated = index(NEW, "phone");
        assert!(rotated.entries("13800138000").contains(&written));
        assert_eq!(rotated.entry("13800138000").key_id, "k2");
        assert_ne!(rotated.entry("13800138000").mac, written.mac);
        assert_eq!(rotated.macs("13800138000").len(), 2);
    }

    #[test]
    fn values_and_purposes_are_told_apart() {
        let phone = index(OLD, "phone");
        assert_eq!(phone.entry("13800138000"), phone.entry("13800138000"));
        assert_ne!(phone.entry("13800138000"), phone.entry("13800138001"));
        assert_ne!(
            phone.entry("13800138000"),
            index(OLD, "ban").entry("13800138000")
        );
    }

    /// RFC 4231, test case 2: the primitive is the one it says.
    #[test]
    fn the_mac_is_hmac_sha_256() {
        let key = hmac::Key::new(hmac::HMAC_SHA256, b"Jefe");
        let expected = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        assert_eq!(
            hex::encode(mac(&key, "what do ya want for nothing?")),
            expected
        );
    }
}
