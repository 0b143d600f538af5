use std::{collections::BTreeMap, fmt, fs, io, path::Path, path::PathBuf};

use aws_lc_rs::{
    aead::{AES_256_GCM, LessSafeKey, UnboundKey},
    hkdf::{HKDF_SHA256, KeyType, Salt},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde::Deserialize;
use uuid::Uuid;
use wanwu_clock::Entropy;
use zeroize::Zeroizing;

use crate::envelope::{open_with, seal_with};

/// Bytes of every key.
pub(crate) const KEY_LENGTH: usize = 32;
/// Longest id of a key.
const MAX_ID: usize = 32;

/// The keys from outside the database, by id: new things are made with the active one, and what
/// older ones made can still be read until they are taken out.
///
/// No key is used as it is: each use has its own, derived by HKDF-SHA-256 (RFC 5869).
pub struct KeyProvider {
    active: String,
    roots: BTreeMap<String, Zeroizing<[u8; KEY_LENGTH]>>,
}

/// Why a key cannot be had or used. The texts show ids of keys, never keys.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file cannot be read.
    #[error("cannot read the keys {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The file is not `{"active": "k1", "keys": {"k1": "<base64 of 32 bytes>"}}`.
    #[error("the keys are not JSON of the form {{\"active\": id, \"keys\": {{id: base64}}}}")]
    Form,
    /// One of the keys is not 32 bytes in base64.
    #[error("key {0} is not 32 bytes in base64")]
    Key(String),
    /// The ids are 1 to 32 letters, digits, hyphens and underscores.
    #[error("the id of a key is 1 to 32 of a-z, A-Z, 0-9, - and _")]
    Id,
    /// There is no such key.
    #[error("there is no key {0}")]
    Unknown(String),
    /// The wrapped key was made with another key, or changed.
    #[error("a wrapped key cannot be opened with key {0}")]
    Unwrap(String),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    active: String,
    keys: BTreeMap<String, String>,
}

impl KeyProvider {
    /// Reads the keys from a file.
    ///
    /// # Errors
    /// When the file cannot be read or does not hold keys.
    pub fn from_file(path: &Path) -> Result<Self, KeyError> {
        let text = fs::read_to_string(path).map_err(|source| KeyError::File {
            path: path.to_owned(),
            source,
        })?;
        Self::from_json(&Zeroizing::new(text))
    }

    /// Reads the keys from JSON: `{"active": "k1", "keys": {"k1": "<base64 of 32 bytes>"}}`.
    ///
    /// # Errors
    /// When it does not hold keys, or the active one is not among them.
    pub fn from_json(text: &str) -> Result<Self, KeyError> {
        // The parser's own error would quote the text.
        let file: File = serde_json::from_str(text).map_err(|_| KeyError::Form)?;
        let mut roots = BTreeMap::new();
        for (id, key) in file.keys {
            if !is_id(&id) {
                return Err(KeyError::Id);
            }
            let key = Zeroizing::new(key);
            let bytes = STANDARD.decode(key.as_str()).map(Zeroizing::new);
            let bytes = bytes.map_err(|_| KeyError::Key(id.clone()))?;
            let bytes = bytes
                .as_slice()
                .try_into()
                .map_err(|_| KeyError::Key(id.clone()))?;
            roots.insert(id, Zeroizing::new(bytes));
        }
        if !roots.contains_key(&file.active) {
            return Err(KeyError::Unknown(file.active));
        }
        Ok(Self {
            active: file.active,
            roots,
        })
    }

    /// The id of the key that new things are made with.
    #[must_use]
    pub fn active(&self) -> &str {
        &self.active
    }

    /// The ids of all keys.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.roots.keys().map(String::as_str)
    }

    /// A secret of the active key for one purpose, such as `identity.codes`. It changes when
    /// another key becomes active: keep [`active`](Self::active) beside what must outlive that.
    #[must_use]
    pub fn secret(&self, purpose: &str) -> Zeroizing<[u8; KEY_LENGTH]> {
        self.secret_of(&self.active, purpose)
            .expect("the active key exists")
    }

    /// As [`secret`](Self::secret), of the key with this id.
    ///
    /// # Errors
    /// When there is no such key.
    pub fn secret_of(
        &self,
        id: &str,
        purpose: &str,
    ) -> Result<Zeroizing<[u8; KEY_LENGTH]>, KeyError> {
        let root = self
            .roots
            .get(id)
            .ok_or_else(|| KeyError::Unknown(id.to_owned()))?;
        Ok(derive(root, &["secret", purpose]))
    }

    /// Wraps a subject's key with the active key.
    pub(crate) fn wrap(&self, entropy: &dyn Entropy, subject: Uuid, key: &[u8]) -> Vec<u8> {
        let wrapping = self
            .wrapping_key(&self.active)
            .expect("the active key exists");
        seal_with(&wrapping, entropy, subject.as_bytes(), key)
    }

    pub(crate) fn unwrap(
        &self,
        id: &str,
        subject: Uuid,
        wrapped: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        let wrapping = self.wrapping_key(id)?;
        open_with(&wrapping, subject.as_bytes(), wrapped)
            .map_err(|_| KeyError::Unwrap(id.to_owned()))
    }

    fn wrapping_key(&self, id: &str) -> Result<LessSafeKey, KeyError> {
        let root = self
            .roots
            .get(id)
            .ok_or_else(|| KeyError::Unknown(id.to_owned()))?;
        let key = derive(root, &["wrap"]);
        let key = UnboundKey::new(&AES_256_GCM, &key[..]).expect("the key has 32 bytes");
        Ok(LessSafeKey::new(key))
    }
}

impl fmt::Debug for KeyProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyProvider")
            .field("active", &self.active)
            .finish_non_exhaustive()
    }
}

/// The parts of a derivation, each preceded by its length so that no two lists are alike.
fn derive(root: &[u8; KEY_LENGTH], parts: &[&str]) -> Zeroizing<[u8; KEY_LENGTH]> {
    let mut info = b"wanwu".to_vec();
    for part in parts {
        info.extend(
            u32::try_from(part.len())
                .expect("a purpose is short")
                .to_be_bytes(),
        );
        info.extend(part.as_bytes());
    }
    let mut key = Zeroizing::new([0; KEY_LENGTH]);
    let prk = Salt::new(HKDF_SHA256, b"wanwu keys").extract(root);
    prk.expand(&[&info], Length)
        .and_then(|okm| okm.fill(&mut key[..]))
        .expect("HKDF gives 32 bytes");
    key
}

struct Length;

impl KeyType for Length {
    fn len(&self) -> usize {
        KEY_LENGTH
    }
}

fn is_id(id: &str) -> bool {
    (1..=MAX_ID).contains(&id.len())
        && id
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

    #[test]
    fn a_file_of_keys_is_read() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        write!(file, r#"{{"active":"k1","keys":{{"k1":"{KEY}"}}}}"#).unwrap();
        let keys = KeyProvider::from_file(file.path()).unwrap();
        assert_eq!(keys.active(), "k1");
        assert_eq!(format!("{keys:?}"), r#"KeyProvider { active: "k1", .. }"#);
    }

    #[test]
    fn what_is_not_keys_is_refused_without_showing_it() {
        let cases = [
            format!(r#"{{"active":"k2","keys":{{"k1":"{KEY}"}}}}"#),
            format!(r#"{{"active":"k1","keys":{{"k1":"{}"}}}}"#, &KEY[..40]),
            format!(r#"{{"active":"k 1","keys":{{"k 1":"{KEY}"}}}}"#),
            format!(r#"{{"active":"k1","keys":"{KEY}"}}"#),
            KEY.to_owned(),
        ];
        for case in cases {
            let error = KeyProvider::from_json(&case).unwrap_err();
            assert!(!format!("{error} {error:?}").contains(&KEY[..10]), "{case}");
        }
        assert!(matches!(
            KeyProvider::from_file(Path::new("/nowhere/keys")),
            Err(KeyError::File { .. })
        ));
    }

    #[test]
    fn each_purpose_and_each_key_has_its_own_secret() {
        let other = STANDARD.encode([9; 32]);
        let json = format!(r#"{{"active":"k1","keys":{{"k1":"{KEY}","k2":"{other}"}}}}"#);
        let keys = KeyProvider::from_json(&json).unwrap();
        assert_eq!(keys.secret("a"), keys.secret_of("k1", "a").unwrap());
        assert_ne!(keys.secret("a"), keys.secret("b"));
        assert_ne!(keys.secret("a"), keys.secret_of("k2", "a").unwrap());
        assert!(keys.secret_of("k3", "a").is_err());
    }

    /// RFC 5869, appendix A.1: the primitive under [`derive`] is the one it says.
    #[test]
    fn hkdf_is_that_of_rfc_5869() {
        let (salt, info) = (
            hex::decode("000102030405060708090a0b0c").unwrap(),
            hex::decode("f0f1f2f3f4f5f6f7f8f9").unwrap(),
        );
        let prk = Salt::new(HKDF_SHA256, &salt).extract(&[0x0b; 22]);
        let mut okm = [0; 32];
        prk.expand(&[&info], Length)
            .unwrap()
            .fill(&mut okm)
            .unwrap();
        let expected = "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf";
        assert_eq!(hex::encode(okm), expected);
    }
}
